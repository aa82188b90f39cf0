"""The PCI devices of this machine, and a definition with some that libvirt takes for valid."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from protonova.common.v1 import pci_pb2 as pb
from protonova.services.compute.virt.driver import GuestSpec
from tests.integration.libvirt.conftest import URI

pytestmark = pytest.mark.libvirt


def test_the_devices_are_those_of_the_kernel(driver):
    there = Path("/sys/bus/pci/devices")
    if not there.is_dir() or not any(there.iterdir()):
        pytest.skip("this machine has no PCI bus")
    found = {device.address: device for device in driver.pci_devices()}
    assert set(found) == {path.name for path in there.iterdir()}
    for address, device in found.items():
        for name, value in (("vendor", device.vendor_id), ("device", device.product_id)):
            assert (there / address / name).read_text().strip() == f"0x{value}"
    assert driver.devices_held() == {}


def test_definitions_with_devices_are_valid(libvirt, driver, tag):
    """None of these devices is here: it is for the start to find out."""
    from protonova.services.compute.virt.libvirt import domain
    from protonova.services.compute.virt.libvirt.layout import Layout

    spec = GuestSpec(
        str(uuid.uuid4()),
        f"instance-test-{tag}-devices",
        devices=(
            pb.PciDevice(address="0000:fe:00.1", device_type=pb.PCI_DEVICE_TYPE_PCI, managed=True),
            pb.PciDevice(address="0000:fe:10.7", device_type=pb.PCI_DEVICE_TYPE_VF),
        ),
        extra_specs={"resources:VGPU": "1"},
    )
    facts = domain.HostFacts(host=f"nobody-{tag}", virt_type="qemu")
    connection = libvirt.open(URI)
    definition = domain.build(Layout(spec, ()), facts, "/dev/null")
    defined = connection.defineXMLFlags(definition, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    try:
        kept = defined.XMLDesc()
        assert kept.count("<hostdev ") == 3
        assert kept.count("managed='yes'") == 1
        assert "<address domain='0x0000' bus='0xfe' slot='0x10' function='0x7'/>" in kept
    finally:
        defined.undefine()
        connection.close()
