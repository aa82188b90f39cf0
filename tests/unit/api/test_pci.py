"""Which PCI devices flavors and images may ask for, and how the rest is refused."""

from __future__ import annotations

import json

import pytest

from protonova.common.v1 import pci_pb2 as pb
from protonova.common.v1.flavor_pb2 import Flavor
from protonova.services.api.creation import pci
from protonova.services.runtime import config, errors
from tests.support.pci import GPU, NIC

ALIAS = "pci_passthrough:alias"
POLICY = "hw:pci_numa_affinity_policy"
KNOWN = pci.aliases(
    config.load(
        files=[],
        pci={
            "alias": [
                json.dumps({"name": "gpu", "numa_policy": "preferred", **GPU}),
                json.dumps({"name": "gpu", "numa_policy": "preferred", **NIC}),
                json.dumps({"name": "nic", "device_type": "type-VF", **NIC}),
            ]
        },
    )
)


def asked(specs: dict[str, str], image: dict[str, str] | None = None) -> list[pb.PciRequest]:
    return pci.requests(Flavor(id="f", vcpus=1, extra_specs=specs), image or {}, KNOWN)


def test_nothing_asked_for() -> None:
    assert asked({}) == asked({ALIAS: " "}) == asked({POLICY: "required"}) == []


def test_aliases_become_requests() -> None:
    gpu, nic = asked({ALIAS: "gpu:2, nic:1"})
    assert (gpu.alias, gpu.count, len(gpu.alternatives)) == ("gpu", 2, 2)
    assert (nic.alias, nic.count, nic.alternatives[0].device_type) == ("nic", 1, pb.PCI_DEVICE_TYPE_VF)
    assert len({gpu.id, nic.id}) == 2
    assert gpu.numa_policy == pb.PCI_NUMA_POLICY_PREFERRED
    assert nic.numa_policy == pb.PCI_NUMA_POLICY_UNSPECIFIED


@pytest.mark.parametrize(
    ("flavor", "image", "expected"),
    [
        ("", "", pb.PCI_NUMA_POLICY_PREFERRED),
        ("required", "", pb.PCI_NUMA_POLICY_REQUIRED),
        ("", "socket", pb.PCI_NUMA_POLICY_SOCKET),
        ("legacy", "legacy", pb.PCI_NUMA_POLICY_LEGACY),
    ],
)
def test_flavor_and_image_say_more_than_the_alias(flavor: str, image: str, expected: int) -> None:
    specs = {ALIAS: "gpu:1"} | ({POLICY: flavor} if flavor else {})
    (found,) = asked(specs, {"hw_pci_numa_affinity_policy": image} if image else {})
    assert found.numa_policy == expected


@pytest.mark.parametrize(
    ("specs", "image", "told"),
    [
        ({ALIAS: "tpu:1"}, {}, f"{ALIAS}: there is no PCI alias 'tpu'."),
        ({ALIAS: "gpu"}, {}, f"{ALIAS}: 'gpu' is not of the form alias:count."),
        ({ALIAS: "gpu:x"}, {}, f"{ALIAS}: 'gpu:x' is not of the form alias:count."),
        ({ALIAS: "gpu:1,"}, {}, f"{ALIAS}: '' is not of the form alias:count."),
        ({ALIAS: "gpu:0"}, {}, f"{ALIAS}: no device is asked for by 'gpu:0'."),
        ({ALIAS: "gpu:60,nic:5"}, {}, f"{ALIAS}: a server can have at most 64 devices."),
        ({POLICY: "near"}, {}, f"{POLICY}: 'near' is none of legacy, preferred, required, socket."),
        ({}, {"hw_pci_numa_affinity_policy": "x"}, "hw_pci_numa_affinity_policy: 'x' is none of"),
        (
            {POLICY: "required"},
            {"hw_pci_numa_affinity_policy": "legacy"},
            f"hw_pci_numa_affinity_policy: an image cannot change {POLICY}, which is required.",
        ),
    ],
)
def test_what_is_refused(specs: dict[str, str], image: dict[str, str], told: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        asked(specs, image)
    assert refused.value.reason == "PCI_INVALID"
    assert refused.value.message.startswith(told)


def test_aliases_that_make_no_sense_are_an_error_at_start() -> None:
    conf = config.load(files=[], pci={"alias": ['{"name": "gpu", "vendor": "10de"}']})
    with pytest.raises(errors.InvalidArgument, match=r"\[pci\]alias: there is no field 'vendor'") as refused:
        pci.aliases(conf)
    assert refused.value.reason == "OPTION_INVALID"
