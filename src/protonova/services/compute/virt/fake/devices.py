"""The PCI devices of a host that is not there, as `[fake] pci_devices` tells of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from protonova.common.v1 import pci_pb2 as pb
from protonova.services.compute.virt import errors
from protonova.services.pci import words
from protonova.services.pci.devices import Device

_KEYS = ("address", "vendor_id", "product_id", "type", "numa_cell", "parent", "devname", "count")
_ADDRESS = re.compile(r"([0-9a-f]{4}:[0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")


def read(values: Iterable[str]) -> tuple[Device, ...]:
    """JSON objects: address, vendor_id, product_id, and as wanted type, numa_cell, parent (of a virtual function),
    devname, count. With a count there are so many of them, virtual functions at the following functions, others in
    the following slots. Raises DriverError naming the field."""
    try:
        found = [device for text in values for facts in words.objects(text, _KEYS) for device in _some(facts)]
    except ValueError as error:
        raise errors.DriverError(f"[fake]pci_devices: {error}") from error
    addresses = [device.address for device in found]
    for address in addresses:
        if addresses.count(address) > 1:
            raise errors.DriverError(f"[fake]pci_devices: there are two devices at address {address}")
    return tuple(found)


def _some(facts: words.Facts) -> Iterator[Device]:
    first, kind = _address(facts, "address"), facts.choice("type", words.TYPES)
    if not first:
        raise ValueError("address is missing")
    for key in ("vendor_id", "product_id"):
        if not facts.hex_id(key):
            raise ValueError(f"{key} of {first} is missing")
    step = 1 if kind == pb.PCI_DEVICE_TYPE_VF else 8
    for number in range(_number(facts, "count", 1) or 0):
        yield Device(
            address=_following(first, number * step),
            vendor_id=facts.hex_id("vendor_id"),
            product_id=facts.hex_id("product_id"),
            device_type=pb.PciDeviceType.ValueType(kind or pb.PCI_DEVICE_TYPE_PCI),
            numa_cell=_number(facts, "numa_cell", None),
            parent=_address(facts, "parent"),
            devname=facts.text("devname"),
        )


def _address(facts: words.Facts, key: str) -> str:
    text = facts.text(key).lower()
    if text and not _ADDRESS.fullmatch(text):
        raise ValueError(f"{key} must be of the form 0000:81:00.0, not {text!r}")
    return text


def _following(address: str, distance: int) -> str:
    match = _ADDRESS.fullmatch(address)
    assert match is not None
    place = int(match[2], 16) * 8 + int(match[3]) + distance
    if place >= 256 * 8:
        raise ValueError(f"count reaches beyond the last slot of {match[1]}")
    return f"{match[1]}:{place // 8:02x}.{place % 8}"


def _number(facts: words.Facts, key: str, default: int | None) -> int | None:
    value = facts.found.get(key, default)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise ValueError(f"{key} must be a whole number, not {value!r}")
    return value
