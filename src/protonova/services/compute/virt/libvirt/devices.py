"""PCI devices in libvirt's words: a host's read from its node devices, a guest's written into its definition."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable

from protonova.common.v1 import pci_pb2 as pb
from protonova.services.compute.virt import errors
from protonova.services.pci.devices import Device

_PARTS = ("domain", "bus", "slot", "function")


def read(documents: Iterable[str]) -> list[Device]:
    """Of the XML of node devices: PCI devices, with what network interfaces and vDPA devices below them tell; by
    address."""
    roots = [ET.fromstring(document) for document in documents]  # noqa: S314 - the daemon is trusted
    interfaces = {
        root.findtext("parent", ""): root.findtext("capability[@type='net']/interface", "") for root in roots
    }
    vdpa = {root.findtext("parent", "") for root in roots if _has(root, "vdpa")}
    found = [
        _device(root, interfaces.get(root.findtext("name", ""), ""), vdpa)
        for root in roots
        if _has(root, "pci")
    ]
    return sorted(found, key=lambda device: device.address)


def hostdev(device: pb.PciDevice) -> ET.Element:
    """Raises HostRefuses."""
    if device.device_type == pb.PCI_DEVICE_TYPE_VDPA:
        raise errors.HostRefuses(f"the vDPA device {device.address} can be given to a port only")
    element = ET.Element("hostdev", mode="subsystem", type="pci", managed="yes" if device.managed else "no")
    domain, bus, rest = device.address.split(":")
    slot, _, function = rest.partition(".")
    ET.SubElement(
        ET.SubElement(element, "source"),
        "address",
        domain=f"0x{domain}",
        bus=f"0x{bus}",
        slot=f"0x{slot}",
        function=f"0x{function}",
    )
    return element


def _has(root: ET.Element, kind: str) -> bool:
    return root.find(f"capability[@type='{kind}']") is not None


def _device(root: ET.Element, interface: str, vdpa: set[str]) -> Device:
    pci = root.find("capability[@type='pci']")
    assert pci is not None
    numbers = (int(pci.findtext(part, "0"), 0) for part in _PARTS)
    physical = pci.find("capability[@type='phys_function']/address")
    numa = pci.find("numa")
    kind = pb.PCI_DEVICE_TYPE_PCI
    if root.findtext("name", "") in vdpa:
        kind = pb.PCI_DEVICE_TYPE_VDPA
    elif physical is not None:
        kind = pb.PCI_DEVICE_TYPE_VF
    elif pci.find("capability[@type='virt_functions']") is not None:
        kind = pb.PCI_DEVICE_TYPE_PF
    return Device(
        address=_address(*numbers),
        vendor_id=_id(pci.find("vendor")),
        product_id=_id(pci.find("product")),
        device_type=kind,
        numa_cell=None if numa is None else int(numa.get("node", "0")),
        parent="" if physical is None else _address(*(int(physical.get(part, "0"), 0) for part in _PARTS)),
        devname=interface,
    )


def _address(domain: int, bus: int, slot: int, function: int) -> str:
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


def _id(element: ET.Element | None) -> str:
    return "" if element is None else f"{int(element.get('id', '0'), 0):04x}"
