"""PCI devices in libvirt's words: a host's read, a guest's written, and kept with its files."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from protonova.common.v1 import pci_pb2 as pb
from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import GuestSpec
from protonova.services.compute.virt.fake.devices import read as fake
from protonova.services.compute.virt.libvirt import devices, domain
from protonova.services.compute.virt.libvirt.layout import GuestDirectory, Layout, devices_held
from protonova.services.pci.devices import Device
from tests.support.pci import addresses

SERVER = "7e0b6f8e-7d0e-4d3a-a3f5-5a3c0b5d9f10"
HOST = domain.HostFacts(host="compute-1", virt_type="kvm")


def node(address: str, vendor: str, product: str, more: str = "") -> str:
    front, bus, rest = address.split(":")
    slot, _, function = rest.partition(".")
    parts = zip(("domain", "bus", "slot", "function"), (front, bus, slot, function), strict=True)
    told = "".join(f"<{name}>{int(text, 16)}</{name}>" for name, text in parts)
    name = "pci_" + address.replace(":", "_").replace(".", "_")
    return (
        f"<device><name>{name}</name><parent>computer</parent><capability type='pci'>{told}"
        f"<product id='0x{product}'>x</product><vendor id='0x{vendor}'/>{more}</capability></device>"
    )


def below(parent: str, kind: str, more: str = "") -> str:
    return (
        f"<device><name>{kind}_x</name><parent>{parent}</parent>"
        f"<capability type='{kind}'>{more}</capability></device>"
    )


VIRTUAL = (
    "<capability type='phys_function'>"
    "<address domain='0x0000' bus='0x05' slot='0x00' function='0x0'/></capability>"
)
DOCUMENTS = [
    node("0001:81:00.1", "10de", "20b5", "<numa node='1'/><iommuGroup number='3'/>"),
    node("0000:05:00.0", "8086", "1572", "<capability type='virt_functions' maxCount='64'/><numa node='0'/>"),
    node("0000:05:02.7", "8086", "154c", VIRTUAL),
    node("0000:05:03.0", "15b3", "101e", VIRTUAL),
    below("pci_0000_05_00_0", "net", "<interface>eth5</interface>"),
    below("pci_0000_05_03_0", "vdpa", "<chardev>/dev/vhost-vdpa-0</chardev>"),
    below("computer", "net", "<interface>lo</interface>"),
]


def test_the_devices_of_the_host() -> None:
    assert devices.read(DOCUMENTS) == [
        Device("0000:05:00.0", "8086", "1572", pb.PCI_DEVICE_TYPE_PF, 0, devname="eth5"),
        Device("0000:05:02.7", "8086", "154c", pb.PCI_DEVICE_TYPE_VF, parent="0000:05:00.0"),
        Device("0000:05:03.0", "15b3", "101e", pb.PCI_DEVICE_TYPE_VDPA, parent="0000:05:00.0"),
        Device("0001:81:00.1", "10de", "20b5", pb.PCI_DEVICE_TYPE_PCI, 1),
    ]


def given(address: str, **fields) -> pb.PciDevice:
    return pb.PciDevice(address=address, **{"managed": True, "device_type": pb.PCI_DEVICE_TYPE_PCI, **fields})


def built(*own: pb.PciDevice) -> ET.Element:
    spec = GuestSpec(SERVER, "instance-00000001", devices=own)
    return ET.fromstring(domain.build(Layout(spec, ()), HOST, "/g/log"))


def test_devices_of_a_guest() -> None:
    first, second = built(given("0001:81:00.1"), given("0000:05:02.7", managed=False)).iterfind(
        "devices/hostdev"
    )
    assert first.attrib == {"mode": "subsystem", "type": "pci", "managed": "yes"}
    (address,) = first.iterfind("source/address")
    assert address.attrib == {"domain": "0x0001", "bus": "0x81", "slot": "0x00", "function": "0x1"}
    assert second.get("managed") == "no"
    assert built().find("devices/hostdev") is None
    with pytest.raises(errors.HostRefuses, match="can be given to a port only"):
        built(given("0000:05:03.0", device_type=pb.PCI_DEVICE_TYPE_VDPA))


def test_what_a_guest_was_given_is_kept_with_its_files(tmp_path) -> None:
    own = (
        given("0001:81:00.1", request_id="r", numa_cell=0),
        given("0000:05:02.7", parent_address="0000:05:00.0"),
    )
    directory = GuestDirectory(tmp_path, SERVER)
    directory.make()
    directory.keep_devices(own)
    assert devices_held(tmp_path) == {SERVER: own}
    spec = GuestSpec(SERVER, "instance-00000001", devices=own)
    directory.save(Layout(spec, ()))
    loaded = directory.load()
    assert loaded is not None
    assert loaded.spec == spec
    directory.keep_devices(())
    assert devices_held(tmp_path) == {}


def test_devices_of_hosts_that_are_not_there() -> None:
    found = fake(
        [
            '{"address": "0000:81:1f.0", "vendor_id": "10DE", "product_id": "20b5", "numa_cell": 1}',
            '{"address": "0000:05:02.6", "vendor_id": "8086", "product_id": "154c", "type": "type-VF", '
            '"parent": "0000:05:00.0", "count": 3}',
            '{"address": "0000:82:00.0", "vendor_id": "10de", "product_id": "20b5", "count": 2}',
        ]
    )
    assert addresses(found) == [
        "0000:81:1f.0",
        *("0000:05:02.6", "0000:05:02.7", "0000:05:03.0"),
        *("0000:82:00.0", "0000:82:01.0"),
    ]
    assert (found[0].vendor_id, found[0].numa_cell, found[1].parent) == ("10de", 1, "0000:05:00.0")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{}", "address is missing"),
        ('{"address": "81:00.0"}', "address must be of the form"),
        ('{"address": "0000:81:00.0"}', "vendor_id of 0000:81:00.0 is missing"),
        ('{"address": "0000:81:00.0", "vendor_id": "10de", "product_id": "1", "x": 1}', "no field 'x'"),
        (
            '{"address": "0000:81:00.0", "vendor_id": "10de", "product_id": "20b5", "count": -1}',
            "count must be a whole number",
        ),
        (
            '{"address": "0000:81:1f.0", "vendor_id": "10de", "product_id": "20b5", "count": 300}',
            "count reaches beyond",
        ),
        (
            '[{"address": "0000:81:00.0", "vendor_id": "10de", "product_id": "20b5", "count": 2},'
            '{"address": "0000:81:01.0", "vendor_id": "10de", "product_id": "20b5"}]',
            "two devices at address 0000:81:01.0",
        ),
    ],
)
def test_devices_that_cannot_be_pretended(text: str, told: str) -> None:
    with pytest.raises(errors.DriverError, match=told):
        fake([text])
