"""Fits a guest with its devices into a host: its NUMA cells, if it has any, and its devices near to them.

Which host cells the guest lies in decides which devices are near. The cells that the guest would get without
devices are tried first, then those in which it is put beside one cell with devices, beside two, and so on. The same
facts always give the same fit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, islice

from protonova.common.v1 import numa_pb2, pci_pb2
from protonova.services.numa import fit as numa
from protonova.services.pci.choosing import Nearness, Take, anywhere, choose, matches

Providers = Mapping[str, Sequence[str]]

# Ways to be beside devices that are tried at most: all there are on a host of a dozen cells.
_MOST_WAYS = 4096


@dataclass(frozen=True, slots=True)
class Fitted:
    """Where the cells lie, None for a guest without; and what is taken of which pool."""

    topology: numa_pb2.GuestTopology | None
    takes: tuple[Take, ...]


def fit(
    pools: Sequence[pci_pb2.PciPool],
    requests: Sequence[pci_pb2.PciRequest],
    host: numa_pb2.HostTopology | None = None,
    guest: numa_pb2.GuestTopology | None = None,
    providers: Providers | None = None,
) -> Fitted | None:
    """None when the guest does not fit. `providers`: by request, the resource providers of its devices."""
    if guest is None:
        takes = choose(pools, requests, anywhere, providers)
        return None if takes is None else Fitted(None, tuple(takes))
    host = host or numa_pb2.HostTopology()
    fitting = numa.Fitting(host, guest)
    usual = fitting.including(())
    if usual is None or not requests:
        return None if usual is None else Fitted(usual, ())
    for nearest in _preferences(requests):

        def serve(cells: Collection[int], nearest: bool = nearest) -> list[Take] | None:
            return choose(pools, requests, _near(host, cells, nearest=nearest), providers)

        if serve([cell.number for cell in host.cells]) is None:
            continue
        for topology in chain(
            [usual], _beside(fitting, serve, _ways(host, fitting.cells, guest, pools, requests))
        ):
            if (takes := serve(_cells(topology))) is not None:
                return Fitted(topology, tuple(takes))
    return None


def taken(pools: Sequence[pci_pb2.PciPool], takes: Sequence[Take]) -> list[pci_pb2.PciPool]:
    """The pools without what was taken, and without what that excludes."""
    left = []
    for pool in pools:
        copy = pci_pb2.PciPool()
        copy.CopyFrom(pool)
        left.append(copy)
    for take in takes:
        pool = left[take.pool]
        pool.free -= take.count
        for other in left:
            if pool.parent_address and other.address == pool.parent_address:
                other.free = 0
            if pool.address and other.parent_address == pool.address:
                other.free = 0
    return left


def available(pools: Sequence[pci_pb2.PciPool], request: pci_pb2.PciRequest) -> int:
    """How many devices are free that are what is asked for, wherever they are."""
    return sum(pool.free for pool in pools if matches(pool, request))


def why_not(
    pools: Sequence[pci_pb2.PciPool],
    requests: Sequence[pci_pb2.PciRequest],
    host: numa_pb2.HostTopology | None = None,
    guest: numa_pb2.GuestTopology | None = None,
    providers: Providers | None = None,
) -> str:
    """In words, why a guest does not fit; empty when it does."""
    if fit(pools, requests, host, guest, providers) is not None:
        return ""
    short = [
        f"{request.count} of '{request.alias}' are wanted, {free} are free"
        for request in requests
        if (free := available(pools, request)) < request.count
    ]
    if short:
        return "; ".join(short)
    asked = ", ".join(f"{request.count} of '{request.alias}'" for request in requests)
    if choose(pools, requests) is None:
        return f"{asked} are wanted, and not free at once"
    if guest is not None and (why := numa.why_not(host or numa_pb2.HostTopology(), guest)):
        return why
    if providers and fit(pools, requests, host, guest) is not None:
        return f"{asked} are wanted of the resource providers that were claimed, and not free there"
    return f"{asked} are free, but not near enough to NUMA cells into which the guest fits"


def _preferences(requests: Sequence[pci_pb2.PciRequest]) -> tuple[bool, ...]:
    """Whether to hold to what is only preferred."""
    preferred = any(request.numa_policy == pci_pb2.PCI_NUMA_POLICY_PREFERRED for request in requests)
    return (True, False) if preferred else (False,)


def _ways(
    host: numa_pb2.HostTopology,
    open_cells: Collection[int],
    guest: numa_pb2.GuestTopology,
    pools: Sequence[pci_pb2.PciPool],
    requests: Sequence[pci_pb2.PciRequest],
) -> Iterator[tuple[int, ...]]:
    """Cells that the guest may be put into for the sake of devices. A device is near by one cell, so it is enough
    to look at cells with devices, not more of them than devices are wanted."""
    useful = sorted(_cells_with_devices(host, pools, requests).intersection(open_cells))
    most = min(len(guest.cells), sum(request.count for request in requests), len(useful))
    every = chain.from_iterable(combinations(useful, count) for count in range(1, most + 1))
    return islice(every, _MOST_WAYS)


def _beside(
    fitting: numa.Fitting,
    serve: Callable[[Collection[int]], list[Take] | None],
    ways: Iterable[Collection[int]],
) -> Iterator[numa_pb2.GuestTopology]:
    """The guest in cells whose devices will do; whatever other cells it lies in make it no worse."""
    for cells in ways:
        if serve(cells) is not None and (topology := fitting.including(cells)) is not None:
            yield topology


def _cells_with_devices(
    host: numa_pb2.HostTopology,
    pools: Sequence[pci_pb2.PciPool],
    requests: Sequence[pci_pb2.PciRequest],
) -> set[int]:
    """Cells, and their fellows in a socket where that is asked for, that have free devices of what is wanted."""
    socket_of = {cell.number: cell.socket for cell in host.cells if cell.HasField("socket")}
    found = set()
    for pool in pools:
        wanted_by = [request for request in requests if matches(pool, request)]
        if not wanted_by or not pool.free or not pool.HasField("numa_cell"):
            continue
        found.add(pool.numa_cell)
        if any(request.numa_policy == pci_pb2.PCI_NUMA_POLICY_SOCKET for request in wanted_by):
            socket = socket_of.get(pool.numa_cell, -1)
            found |= {number for number, own in socket_of.items() if own == socket}
    return found


def _cells(topology: numa_pb2.GuestTopology) -> frozenset[int]:
    return frozenset(part.host_cell for part in topology.cells)


def _near(host: numa_pb2.HostTopology, cells: Collection[int], *, nearest: bool) -> Nearness:
    socket_of = {cell.number: cell.socket for cell in host.cells if cell.HasField("socket")}
    sockets = {socket_of[cell] for cell in cells if cell in socket_of}

    def near(pool: pci_pb2.PciPool, policy: pci_pb2.PciNumaPolicy.ValueType) -> int | None:
        return _distance(pool, policy, cells, socket_of, sockets, nearest=nearest)

    return near


def _distance(
    pool: pci_pb2.PciPool,
    policy: pci_pb2.PciNumaPolicy.ValueType,
    cells: Collection[int],
    socket_of: Mapping[int, int],
    sockets: Collection[int],
    *,
    nearest: bool,
) -> int | None:
    told = pool.HasField("numa_cell")
    if told and pool.numa_cell in cells:
        # Of no use to the policy where the host does not tell of sockets.
        unknown = policy == pci_pb2.PCI_NUMA_POLICY_SOCKET and pool.numa_cell not in socket_of
        return None if unknown else 0
    if policy == pci_pb2.PCI_NUMA_POLICY_REQUIRED:
        return None
    if policy == pci_pb2.PCI_NUMA_POLICY_SOCKET:
        return 1 if told and socket_of.get(pool.numa_cell, -1) in sockets else None
    if policy == pci_pb2.PCI_NUMA_POLICY_PREFERRED:
        return None if nearest else 2 if told else 1
    return None if told else 1
