"""Which pools serve which requests.

How many of a pool serve a request is a flow from requests to pools. Only that a physical function excludes its
virtual ones is none: where a flow uses both, one of the two is forbidden and it is tried again. What was found to
be hopeless is remembered in a form in which families that are alike are the same, so that equal cards are one dead
end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from protonova.common.v1 import pci_pb2 as pb

# How near a pool is to the guest, smaller is nearer, by a request's policy; None = it is not to be taken.
Nearness = Callable[[pb.PciPool, pb.PciNumaPolicy.ValueType], int | None]
_EXPLICIT = frozenset({pb.PCI_DEVICE_TYPE_PF, pb.PCI_DEVICE_TYPE_VDPA})


@dataclass(frozen=True, slots=True)
class Take:
    """So many devices of a pool for a request; both by their places."""

    request: int
    pool: int
    count: int


@dataclass(frozen=True, slots=True)
class _Demand:
    request: int
    count: int
    # Best first.
    pools: tuple[int, ...]


def anywhere(pool: pb.PciPool, _policy: pb.PciNumaPolicy.ValueType) -> int | None:
    """For guests without cells: devices in a cell are left to others as long as possible."""
    return int(pool.HasField("numa_cell"))


def choose(
    pools: Sequence[pb.PciPool],
    requests: Sequence[pb.PciRequest],
    nearness: Nearness = anywhere,
    providers: Mapping[str, Sequence[str]] | None = None,
) -> list[Take] | None:
    """None when not all can be served. `providers`: by request, the resource providers of its devices, one each."""
    demands = [
        demand
        for number, request in enumerate(requests)
        for demand in _demands(pools, number, request, nearness, (providers or {}).get(request.id, ()))
    ]
    return _Search(pools, demands).run()


def matches(pool: pb.PciPool, request: pb.PciRequest) -> bool:
    """Whether devices of a pool are what a request asks for, wherever they are."""
    return any(_is_as(pool, wanted) for wanted in request.alternatives)


def _is_as(pool: pb.PciPool, wanted: pb.PciAlternative) -> bool:
    if wanted.device_type != pool.device_type and (wanted.device_type or pool.device_type in _EXPLICIT):
        return False
    if pool.tags.get("remote_managed") == "true":
        return False
    if wanted.HasField("live_migratable"):
        migratable = pool.tags.get("live_migratable") == "true"
        if migratable != wanted.live_migratable:
            return False
    return (
        wanted.vendor_id in ("", pool.vendor_id)
        and wanted.product_id in ("", pool.product_id)
        and wanted.resource_class in ("", pool.resource_class)
        and set(wanted.traits) <= set(pool.traits)
    )


def _demands(
    pools: Sequence[pb.PciPool],
    number: int,
    request: pb.PciRequest,
    nearness: Nearness,
    providers: Sequence[str],
) -> list[_Demand]:
    ranked = []
    for place, pool in enumerate(pools):
        if matches(pool, request) and (near := nearness(pool, request.numa_policy)) is not None:
            # Virtual functions of a card that is begun come first, and the smallest pools.
            whole = bool(pool.parent_address) and pool.free == pool.total
            ranked.append((near, whole, pool.free, place))
    order = tuple(place for *_, place in sorted(ranked))
    if not providers:
        return [_Demand(number, request.count, order)]
    by_provider: dict[str, int] = defaultdict(int)
    for provider in providers:
        by_provider[provider] += 1
    if len(providers) != request.count:
        return [_Demand(number, request.count, ())]
    return [
        _Demand(number, count, tuple(place for place in order if pools[place].provider_id == provider))
        for provider, count in by_provider.items()
    ]


class _Search:
    def __init__(self, pools: Sequence[pb.PciPool], demands: Sequence[_Demand]) -> None:
        self._pools = pools
        self._demands = demands
        wanted = {place for demand in demands for place in demand.pools}
        heads = {pool.address: place for place, pool in enumerate(pools) if pool.address and place in wanted}
        below: dict[str, list[int]] = defaultdict(list)
        for place, pool in enumerate(pools):
            if pool.parent_address in heads and place in wanted:
                below[pool.parent_address].append(place)
        # Physical functions that stand in somebody's way: its pool, and those of its virtual functions.
        self._families = [(heads[address], tuple(places)) for address, places in below.items()]
        self._alike = [self._signature(head, places) for head, places in self._families]
        self._hopeless: set[tuple] = set()

    def run(self) -> list[Take] | None:
        return self._run((0,) * len(self._families))

    def _run(self, decided: tuple[int, ...]) -> list[Take] | None:
        """Of each family is forbidden: 0 nothing yet, 1 the physical function, 2 the virtual ones."""
        key = tuple(sorted(zip(self._alike, decided, strict=True)))
        if key in self._hopeless:
            return None
        flow = _Flow(self._free(decided), self._demands).run()
        if flow is not None:
            torn = self._torn(flow, decided)
            if torn is None:
                return [Take(*each, count) for each, count in sorted(flow.items()) if count]
            for forbidden in (1, 2):
                found = self._run((*decided[:torn], forbidden, *decided[torn + 1 :]))
                if found is not None:
                    return found
        self._hopeless.add(key)
        return None

    def _torn(self, flow: Mapping[tuple[int, int], int], decided: Sequence[int]) -> int | None:
        """A family of which both kinds are used."""
        used = {pool for (_, pool), count in flow.items() if count}
        for number, (head, places) in enumerate(self._families):
            if not decided[number] and head in used and used.intersection(places):
                return number
        return None

    def _free(self, decided: Sequence[int]) -> list[int]:
        free = [pool.free for pool in self._pools]
        for forbidden, (head, places) in zip(decided, self._families, strict=True):
            for place in (head,) if forbidden == 1 else places if forbidden == 2 else ():
                free[place] = 0
        return free

    def _signature(self, head: int, places: Sequence[int]) -> tuple:
        return self._kind(head), tuple(sorted(self._kind(place) for place in places))

    def _kind(self, place: int) -> tuple:
        wanted = tuple(number for number, demand in enumerate(self._demands) if place in demand.pools)
        return wanted, self._pools[place].free


class _Flow:
    """A flow that serves all demands, by augmenting paths; demands take their best pools as long as the others find
    something."""

    def __init__(self, free: Sequence[int], demands: Sequence[_Demand]) -> None:
        self._left = list(free)
        self._demands = demands
        # By demand and pool.
        self._taken: dict[tuple[int, int], int] = defaultdict(int)

    def run(self) -> dict[tuple[int, int], int] | None:
        """By request and pool; None when there is none."""
        for number, demand in enumerate(self._demands):
            for _ in range(demand.count):
                if not self._serve(number, set()):
                    return None
        found: dict[tuple[int, int], int] = defaultdict(int)
        for (number, pool), count in self._taken.items():
            found[self._demands[number].request, pool] += count
        return found

    def _serve(self, number: int, tried: set[int]) -> bool:
        """One more device, if need be by having others take another."""
        for pool in self._demands[number].pools:
            if pool not in tried and self._left[pool] > 0:
                self._left[pool] -= 1
                self._taken[number, pool] += 1
                return True
        for pool in self._demands[number].pools:
            if pool in tried:
                continue
            tried.add(pool)
            for other in range(len(self._demands)):
                if self._taken[other, pool] > 0 and other != number and self._serve(other, tried):
                    self._taken[other, pool] -= 1
                    self._taken[number, pool] += 1
                    return True
        return False
