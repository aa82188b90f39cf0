"""PCI devices, pools and requests, in few words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from protonova.common.v1 import pci_pb2 as pb
from protonova.services.pci import words
from protonova.services.pci.devices import Device

GPU = {"vendor_id": "10de", "product_id": "20b5"}
NIC = {"vendor_id": "8086", "product_id": "1572"}
VF = {"vendor_id": "8086", "product_id": "154c"}
POLICIES = dict(words.POLICIES) | {"": pb.PCI_NUMA_POLICY_UNSPECIFIED}


def pool(free: int = 1, cell: int | None = None, *, kind: str = "type-PCI", **fields: Any) -> pb.PciPool:
    """Of GPUs unless it is said otherwise."""
    fields = {**GPU, "total": free, **fields}
    return pb.PciPool(device_type=words.TYPES[kind], numa_cell=cell, free=free, **fields)


def request(
    count: int = 1, policy: str = "", *, name: str = "gpu", kind: str = "", **fields: Any
) -> pb.PciRequest:
    """`fields` are those of its only alternative."""
    alternative = pb.PciAlternative(device_type=words.TYPES.get(kind, 0), **(fields or GPU))
    return pb.PciRequest(
        id=name, alias=name, count=count, alternatives=[alternative], numa_policy=POLICIES[policy]
    )


def device(address: str, cell: int | None = None, *, kind: str = "type-PCI", **fields: Any) -> Device:
    return Device(address, numa_cell=cell, device_type=words.TYPES[kind], **{**GPU, **fields})


def card(number: int, functions: int, cell: int | None = None) -> list[Device]:
    """A physical function and its virtual ones."""
    head = f"0000:{number:02x}:00.0"
    below = [
        device(f"0000:{number:02x}:02.{function}", cell, kind="type-VF", parent=head, **VF)
        for function in range(functions)
    ]
    return [device(head, cell, kind="type-PF", devname=f"eth{number}", **NIC), *below]


def addresses(devices: Iterable[Any]) -> list[str]:
    return [one.address for one in devices]
