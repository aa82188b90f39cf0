"""What operators write of devices, and what they cannot."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protonova.common.v1 import pci_pb2 as pb
from protonova.services.pci import aliases, specs, words
from protonova.services.runtime import config
from tests.support.pci import GPU, NIC, addresses, card, device


def alias(**fields: Any) -> str:
    return json.dumps({"name": "gpu", **GPU, **fields})


def test_an_alias_and_its_alternatives() -> None:
    found = aliases.read(
        [
            alias(
                device_type="type-PF", numa_policy="required", traits="b, custom_a,HW_GPU_API_DIRECT3D_V6_0"
            ),
            alias(vendor_id="8086", device_type="type-PF", numa_policy="required", live_migratable="yes"),
            json.dumps([{"name": "fpga", "resource_class": "fpga-x"}]),
        ]
    )
    assert list(found) == ["gpu", "fpga"]
    first, second = found["gpu"].alternatives
    assert found["gpu"].numa_policy == pb.PCI_NUMA_POLICY_REQUIRED
    assert (first.vendor_id, first.device_type) == ("10de", pb.PCI_DEVICE_TYPE_PF)
    assert list(first.traits) == ["CUSTOM_A", "CUSTOM_B", "HW_GPU_API_DIRECT3D_V6_0"]
    assert not first.HasField("live_migratable")
    assert second.live_migratable
    assert found["fpga"].alternatives[0].resource_class == "CUSTOM_FPGA_X"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["{"], "it is not JSON"),
        (["3"], "not a JSON object"),
        ([alias(vendor="1")], "there is no field 'vendor'"),
        ([json.dumps(GPU)], "name is missing"),
        ([alias(name="a:b")], "name must be without colons"),
        ([alias(vendor_id="10d")], "vendor_id must be four hexadecimal digits"),
        ([alias(vendor_id="*")], "vendor_id must be four hexadecimal digits"),
        ([alias(product_id=1)], "product_id must be a text"),
        ([json.dumps({"name": "gpu", "vendor_id": "10de"})], "vendor_id and product_id of 'gpu' are missing"),
        ([alias(device_type="PF")], "device_type must be one of type-PCI, type-PF, type-VF, type-VDPA"),
        ([alias(numa_policy="near")], "numa_policy must be one of legacy, preferred, required, socket"),
        ([alias(live_migratable="maybe")], "live_migratable must be true or false"),
        ([alias(), alias(numa_policy="socket")], "numa_policy of 'gpu' must be the same"),
        ([alias(), alias(device_type="type-VF")], "device_type of 'gpu' must be the same"),
    ],
)
def test_what_is_no_alias(values: list[str], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        aliases.read(values)


def test_names() -> None:
    assert words.resource_class("pgpu") == "PGPU"
    assert words.resource_class("CUSTOM_X") == "CUSTOM_X"
    assert words.resource_class("a100-40g") == "CUSTOM_A100_40G"
    assert words.trait("hw_cpu_x86_avx2") == "HW_CPU_X86_AVX2"
    assert words.default_class("10de", "20b5") == "CUSTOM_PCI_10DE_20B5"


HOST = [
    device("0000:81:00.0", 0),
    device("0001:82:00.0", 1, product_id="2236"),
    *card(5, 2),
    *card(6, 2),
]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (GPU, "0000:81:00.0"),
        ({"vendor_id": "10DE", "product_id": "*"}, "0000:81:00.0 0001:82:00.0"),
        ({"address": "0000:81:00.0"}, "0000:81:00.0"),
        ({"address": "81:00.0"}, "0000:81:00.0"),
        ({"address": "*:82:00.*"}, "0001:82:00.0"),
        ({"address": ":82:"}, "0001:82:00.0"),
        ({"address": "5:2.1"}, "0000:05:02.1"),
        ({"address": ".1"}, "0000:05:02.1 0000:06:02.1"),
        ({"address": {"bus": "0[56]", "function": "1"}}, "0000:05:02.1 0000:06:02.1"),
        ({"address": {"domain": "0001"}}, "0001:82:00.0"),
        ({"address": "0000:05:00.0"}, "0000:05:00.0 0000:05:02.0 0000:05:02.1"),
        ({"address": "0000:05:00.*"}, "0000:05:00.0"),
        ({"address": "0000:05:00.0", "product_id": "154c"}, "0000:05:02.0 0000:05:02.1"),
        ({"devname": "eth6"}, "0000:06:00.0 0000:06:02.0 0000:06:02.1"),
        ({"devname": "eth6", **NIC}, "0000:06:00.0"),
        ({"devname": "eth9"}, ""),
    ],
)
def test_which_devices_a_spec_means(spec: dict[str, Any], expected: str) -> None:
    assert " ".join(addresses(specs.offered(HOST, specs.read([json.dumps(spec)])))) == expected


def test_what_is_said_of_them_is_said_by_the_first_that_fits() -> None:
    found = specs.offered(
        HOST,
        specs.read(
            [
                json.dumps({"address": "5:2.1", "managed": "no", "trusted": "true", "physical_network": "p"}),
                json.dumps(
                    {"devname": "eth5", "resource_class": "nic", "traits": "b,a", "live_migratable": 1}
                ),
            ]
        ),
    )
    first, second, third = found
    assert addresses(found) == ["0000:05:00.0", "0000:05:02.0", "0000:05:02.1"]
    assert third.tags == {"trusted": "true", "physical_network": "p"}
    assert not third.managed
    assert third.offered_as == "CUSTOM_PCI_8086_154C"
    assert second.managed
    assert (second.offered_as, second.traits) == ("CUSTOM_NIC", ("CUSTOM_A", "CUSTOM_B"))
    assert first.tags == {"live_migratable": "true"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[1]", "not a JSON object"),
        ('{"adress": "1"}', "there is no field 'adress'"),
        ('{"vendor_id": "xyz"}', "vendor_id must be"),
        ('{"address": 5}', "address must be a text or an object"),
        ('{"address": "0:0:0:0.0"}', "too many parts"),
        ('{"address": "0000:zz:00.0"}', "'zz' as its bus"),
        ('{"address": "0000:81:00.8"}', "'8' as its function"),
        ('{"address": {"buss": "1"}}', "address has no part 'buss'"),
        ('{"address": {"bus": "("}}', "no regular expression as its bus"),
        ('{"address": {"bus": 1}}', "no regular expression as its bus"),
        ('{"address": "81:00.0", "devname": "eth0"}', "address and devname"),
        ('{"managed": "perhaps"}', "managed must be"),
        ('{"physical_network": ""}', "physical_network must be"),
    ],
)
def test_what_is_no_spec(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        specs.read([text])


def test_older_names_of_the_options(tmp_path) -> None:
    file = tmp_path / "old.conf"
    file.write_text(
        f"[DEFAULT]\npci_alias = {alias()}\npci_passthrough_whitelist = {json.dumps(GPU)}\n"
        f"[pci]\npassthrough_whitelist = {json.dumps(NIC)}\n"
    )
    conf = config.load(files=[str(file)])
    assert conf.pci.alias == [alias()]
    assert json.loads(conf.pci.device_spec[0]) in (GPU, NIC)
