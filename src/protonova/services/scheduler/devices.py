"""PCI devices and NUMA cells in decisions: whether a host has them for a server, beside what was claimed there.

What a host tells is a moment old. Servers of the same request that were placed there already count, and so do those
claimed for by this process, until the host tells that they hold their devices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from protonova.common.v1 import numa_pb2, pci_pb2
from protonova.scheduler.v1 import scheduler_pb2
from protonova.services.numa import usage
from protonova.services.pci import fit as pci

_REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a server asks of a host, in a form in which equal wishes are equal: `cells` is a GuestTopology and
    `requests` are PciRequests as they travel, the latter with their places as ids. `providers`: by place, the
    resource providers of the devices."""

    cells: bytes = b""
    requests: tuple[bytes, ...] = ()
    providers: tuple[tuple[str, tuple[str, ...]], ...] = ()
    devices: int = 0

    @classmethod
    def of(cls, spec: scheduler_pb2.RequestSpec) -> Wanted:
        cells = b""
        if spec.HasField("numa_topology"):
            cells = usage.requested(spec.numa_topology).SerializeToString(deterministic=True)
        requests = []
        for place, request in enumerate(spec.pci_requests):
            copy = pci_pb2.PciRequest()
            copy.CopyFrom(request)
            copy.id = str(place)
            requests.append(copy.SerializeToString(deterministic=True))
        return cls(cells, tuple(requests), devices=sum(request.count for request in spec.pci_requests))

    def anywhere(self) -> Wanted:
        """Without cells."""
        return replace(self, cells=b"")

    def of_providers(self, found: Iterable[tuple[str, ...]]) -> Wanted:
        """The devices of these resource providers, told request by request."""
        return replace(self, providers=tuple((str(place), some) for place, some in enumerate(found)))


@dataclass(frozen=True, slots=True)
class Having:
    """What a host has of both: a HostTopology and a HostDevices as they travel, empty where it tells of none; and
    what those ask for that were claimed for there, and of which it has yet to tell."""

    cells: bytes = b""
    devices: bytes = b""
    ahead: tuple[Wanted, ...] = ()

    def anywhere(self) -> Having:
        """Without cells."""
        return Having(b"", self.devices, tuple(one.anywhere() for one in self.ahead))


@lru_cache(maxsize=_REMEMBERED)
def fits(host: Having, wanted: Wanted, count: int) -> bool:
    """Whether there is room for so many of these servers. Hosts are often alike and flavors few: what was found out
    once is remembered."""
    topology, pools = _left(host, host.ahead)
    cells, requests, providers = _read(wanted)
    for _ in range(count):
        found = pci.fit(pools, requests, topology, cells, providers)
        if found is None:
            return False
        pools = pci.taken(pools, found.takes)
        if found.topology is not None:
            topology = usage.counted(topology, [found.topology])
    return True


def why_not(host: Having, wanted: Wanted, count: int) -> str:
    """In words; empty when there is room."""
    topology, pools = _left(host, (*host.ahead, *(wanted,) * (count - 1)))
    cells, requests, providers = _read(wanted)
    return pci.why_not(pools, requests, topology, cells, providers)


@lru_cache(maxsize=_REMEMBERED)
def available(host: Having, wanted: Wanted, count: int) -> tuple[int, ...]:
    """How many devices are free for each request of the last of so many servers."""
    _, pools = _left(host, (*host.ahead, *(wanted,) * (count - 1)))
    return tuple(pci.available(pools, request) for request in _read(wanted)[1])


def asked(wanted: Wanted) -> list[tuple[str, int]]:
    """Alias and number of each request."""
    return [(request.alias, request.count) for request in _read(wanted)[1]]


def told(state: pci_pb2.HostDevices) -> bytes:
    """As it is kept in the view: who holds what is of no interest to decisions."""
    kept = pci_pb2.HostDevices(pools=state.pools)
    return kept.SerializeToString(deterministic=True)


def free(devices: bytes) -> int:
    """How many there are."""
    return sum(pool.free for pool in pci_pb2.HostDevices.FromString(devices).pools)


def _left(host: Having, ahead: Iterable[Wanted]) -> tuple[numa_pb2.HostTopology, list[pci_pb2.PciPool]]:
    """A host without what those ahead take. One that has no room any more was counted already, or gets none."""
    topology = numa_pb2.HostTopology.FromString(host.cells)
    pools = list(pci_pb2.HostDevices.FromString(host.devices).pools)
    for one in ahead:
        cells, requests, providers = _read(one)
        found = pci.fit(pools, requests, topology, cells, providers)
        if found is not None:
            pools = pci.taken(pools, found.takes)
            if found.topology is not None:
                topology = usage.counted(topology, [found.topology])
    return topology, pools


def _read(
    wanted: Wanted,
) -> tuple[numa_pb2.GuestTopology | None, list[pci_pb2.PciRequest], Mapping[str, tuple[str, ...]]]:
    cells = numa_pb2.GuestTopology.FromString(wanted.cells) if wanted.cells else None
    requests = [pci_pb2.PciRequest.FromString(each) for each in wanted.requests]
    return cells, requests, dict(wanted.providers)
