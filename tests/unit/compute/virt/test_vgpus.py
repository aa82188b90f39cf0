"""Virtual GPUs: how many a host has, and what a guest's definition says of them."""

from __future__ import annotations

import uuid
import xml.etree.ElementTree as ET

import pytest

from protonova.services.compute.virt.driver import GuestSpec
from protonova.services.compute.virt.libvirt import domain, mdevs
from protonova.services.compute.virt.libvirt.layout import Layout

SERVER = "7e0b6f8e-7d0e-4d3a-a3f5-5a3c0b5d9f10"


def card(name: str, **types: int) -> str:
    told = "".join(
        f"<type id='{kind}'><deviceAPI>vfio-pci</deviceAPI><availableInstances>{count}</availableInstances></type>"
        for kind, count in types.items()
    )
    return (
        f"<device><name>{name}</name><capability type='pci'><domain>0</domain>"
        f"<capability type='mdev_types'>{told}</capability></capability></device>"
    )


def made(parent: str, kind: str, number: int = 0) -> str:
    return (
        f"<device><name>mdev_{number}</name><parent>{parent}</parent><capability type='mdev'>"
        f"<type id='{kind}'/><uuid>{uuid.UUID(int=number)}</uuid></capability></device>"
    )


CARDS = [card("pci_0000_81_00_0", big=1, small=3), card("pci_0000_82_00_0", big=2, other=8)]


@pytest.mark.parametrize(
    ("enabled", "existing", "expected"),
    [
        ((), [], 0),
        (("big",), [], 3),
        (("small",), [], 3),
        (("big", "small"), [], 5),
        (("small",), [made("pci_0000_81_00_0", "small", n) for n in range(2)], 5),
        (("big",), [made("pci_0000_82_00_0", "other")], 3),
        (("none",), [], 0),
    ],
)
def test_how_many_there_can_be(enabled, existing, expected) -> None:
    assert mdevs.capacity(mdevs.read(CARDS, existing, enabled)) == expected


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        ({}, 0),
        ({"resources:VGPU": "2"}, 2),
        ({"resources1:VGPU": "1", "resources_B:VGPU": "1", "resources:VCPU": "4"}, 2),
        ({"trait:VGPU": "1"}, 0),
    ],
)
def test_how_many_a_flavor_asks_for(specs, expected) -> None:
    assert mdevs.wanted(specs) == expected


def test_devices_of_a_guest() -> None:
    spec = GuestSpec(SERVER, "instance-00000001", extra_specs={"resources:VGPU": "2"})
    facts = domain.HostFacts(host="compute-1", virt_type="kvm")
    found = ET.fromstring(domain.build(Layout(spec, ()), facts, "/g/log")).findall("devices/hostdev")
    assert [each.attrib for each in found] == [
        {"mode": "subsystem", "type": "mdev", "model": "vfio-pci"} for _ in range(2)
    ]
    own = [each.find("source/address").get("uuid") for each in found]
    assert own == mdevs.ids(SERVER, 2)
    assert len(set(own)) == 2


def test_what_makes_a_device() -> None:
    kind = mdevs.Kind("pci_0000_81_00_0", "small", 0, 3)
    (own,) = mdevs.ids(SERVER, 1)
    root = ET.fromstring(mdevs.definition(kind, own))
    assert root.findtext("parent") == "pci_0000_81_00_0"
    assert root.find("capability[@type='mdev']/type").get("id") == "small"
    assert mdevs.id_of(mdevs.definition(kind, own)) == own
