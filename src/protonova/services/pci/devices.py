"""The devices of one host: those that an operator lets guests have, and the pools they make.

A physical function and its virtual functions exclude each other. Where both may be had, the physical one is a pool
of its own and names its address; pools of virtual ones name it as their parent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from protonova.common.v1 import pci_pb2 as pb
from protonova.services.pci import words
from protonova.services.pci.choosing import Take


@dataclass(frozen=True)
class Device:
    """One device as a driver finds it, and what the operator says of it. `address` is dddd:bb:ss.f; `parent` that
    of the physical function of a virtual one; `devname` the network interface it is to the host."""

    address: str
    vendor_id: str
    product_id: str
    device_type: pb.PciDeviceType.ValueType = pb.PCI_DEVICE_TYPE_PCI
    numa_cell: int | None = None
    parent: str = ""
    devname: str = ""
    managed: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)
    resource_class: str = ""
    traits: tuple[str, ...] = ()
    provider_id: str = ""

    @property
    def offered_as(self) -> str:
        """Its resource class."""
        return self.resource_class or words.default_class(self.vendor_id, self.product_id)


@dataclass(frozen=True)
class Pools:
    """Pools as the contract tells them, and the free devices of each, by address."""

    told: tuple[pb.PciPool, ...]
    free: tuple[tuple[Device, ...], ...]


def pools(devices: Iterable[Device], held: Iterable[pb.PciDevice]) -> Pools:
    """Of the devices of a host, beside what its guests hold. What these hold may be offered no longer."""
    offered = {device.address: device for device in devices}
    parents = {device.parent for device in offered.values()} & offered.keys()
    given_away = {device.address: device.parent_address for device in held}
    broken = set(given_away.values())
    members: dict[tuple, list[Device]] = defaultdict(list)
    for address in sorted(offered):
        device = offered[address]
        members[_key(device, parents)].append(device)
    told, free = [], []
    for some in members.values():
        left = tuple(
            device
            for device in some
            if not {device.address, device.parent} & given_away.keys() and device.address not in broken
        )
        told.append(_pool(some[0], len(some), len(left), parents))
        free.append(left)
    return Pools(tuple(told), tuple(free))


def given(device: Device, request_id: str, *, claimed: bool) -> pb.PciDevice:
    """`claimed`: placement was asked for it."""
    return pb.PciDevice(
        address=device.address,
        vendor_id=device.vendor_id,
        product_id=device.product_id,
        device_type=device.device_type,
        request_id=request_id,
        numa_cell=device.numa_cell,
        parent_address=device.parent,
        managed=device.managed,
        provider_id=device.provider_id if claimed else "",
    )


def pick(
    free: Iterable[Sequence[Device]],
    takes: Iterable[Take],
    requests: Sequence[pb.PciRequest],
    claimed: Collection[str] = (),
) -> tuple[pb.PciDevice, ...]:
    """The devices of what is taken, of the free ones of each pool the first. `claimed`: the requests of which
    placement knows."""
    left = [list(some) for some in free]
    return tuple(
        given(left[take.pool].pop(0), requests[take.request].id, claimed=requests[take.request].id in claimed)
        for take in takes
        for _ in range(take.count)
    )


def _key(device: Device, parents: Collection[str]) -> tuple:
    return (
        device.vendor_id,
        device.product_id,
        device.device_type,
        device.numa_cell,
        tuple(sorted(device.tags.items())),
        device.offered_as,
        device.traits,
        device.provider_id,
        device.address if device.address in parents else "",
        device.parent if device.parent in parents else "",
    )


def _pool(one: Device, total: int, free: int, parents: Collection[str]) -> pb.PciPool:
    return pb.PciPool(
        vendor_id=one.vendor_id,
        product_id=one.product_id,
        device_type=one.device_type,
        numa_cell=one.numa_cell,
        total=total,
        free=free,
        tags=one.tags,
        resource_class=one.offered_as,
        traits=sorted(one.traits),
        address=one.address if one.address in parents else "",
        parent_address=one.parent if one.parent in parents else "",
        provider_id=one.provider_id,
    )


def counts(requests: Iterable[pb.PciRequest]) -> dict[str, int]:
    """How many devices each request asks for."""
    return {request.id: request.count for request in requests}


def serve(devices: Sequence[pb.PciDevice], requests: Sequence[pb.PciRequest]) -> bool:
    """Whether these are the devices of these requests."""
    found: dict[str, int] = defaultdict(int)
    for device in devices:
        found[device.request_id] += 1
    return dict(found) == counts(requests)
