"""Decides, without doing anything: which host for which server, and which others if that one refuses.

Pure but for chance: hosts, candidates and request in, a plan out. Servers of one request are placed one after
another, and each counts what the earlier ones take.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from protonova.services.scheduler import devices
from protonova.services.scheduler.filters.filter import Filter
from protonova.services.scheduler.hosts import NONE, HostRecord
from protonova.services.scheduler.offer import Way
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable, Mask, Rows
from protonova.services.scheduler.weighers.weigher import Weigher, Weights
from protonova.services.scheduler.weighing import Weighing

Free = Callable[[str, str], int | None]

# So many of the best are put in order at first; the others only if none of these will do.
_FIRST = 64


@dataclass(frozen=True, slots=True)
class Place:
    """A way for a server to be on a host: what it would be allocated, by provider and class."""

    host: HostRecord
    allocations: Mapping[str, Mapping[str, int]]
    # By PCI request, the providers of its devices; empty where placement was not asked for them.
    pci_providers: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: NONE)


@dataclass(frozen=True, slots=True)
class Pick:
    """A server, its place, and others in the same cell."""

    server_id: str
    place: Place
    alternates: tuple[Place, ...] = ()


@dataclass(slots=True)
class Plan:
    """Servers that got no place are told in `failures`, with the reason; empty where no host was left."""

    picks: list[Pick] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rules:
    """How hosts are chosen: the operator's filters, weighers and taste."""

    place: Filter
    filters: Sequence[Filter]
    weighers: Sequence[Weigher]
    # Asked for members of server groups, configured or not: what they forbid would be refused after all.
    strict: Sequence[Filter] = ()
    subset_size: int = 1
    shuffle: bool = False

    def asked(self, request: Request) -> list[Filter]:
        """The filters a request is put to, beside its place."""
        chosen = [] if request.spec.skip_filters else list(self.filters)
        if request.group is not None:
            names = {each.name for each in chosen}
            chosen += [each for each in self.strict if each.name not in names]
        return chosen


class Planner:
    """Plans one request. `candidates` holds, for each row of the table, the ways to be on that host; `free` says
    what is free on a provider."""

    def __init__(
        self,
        rules: Rules,
        request: Request,
        hosts: HostTable,
        candidates: Sequence[Sequence[Mapping[str, Mapping[str, int]]]],
        free: Free,
    ) -> None:
        self._rules = rules
        self._request = request
        self._hosts = hosts
        self._candidates = candidates
        self._free = free
        self._weighing = Weighing(rules.weighers, hosts, request)
        self._taken: Counter[tuple[str, str]] = Counter()
        self._full = np.zeros(len(hosts), dtype=np.bool_)

    def plan(self, server_ids: Sequence[str], max_alternates: int) -> Plan:
        plan = Plan()
        passing = self._filter_once()
        for server_id in server_ids:
            pick = self._pick(server_id, passing, max_alternates)
            if pick is None:
                plan.failures[server_id] = ""
            else:
                plan.picks.append(pick)
        return plan

    def _filter_once(self) -> Mask:
        mask = self._rules.place.passing(self._hosts, self._request)
        for each in self._filters(once=True):
            mask &= each.passing(self._hosts, self._request)
        return mask

    def _filters(self, *, once: bool) -> list[Filter]:
        return [each for each in self._rules.asked(self._request) if each.once is once]

    def _pick(self, server_id: str, passing: Mask, max_alternates: int) -> Pick | None:
        mask = passing & ~self._full
        for each in self._filters(once=False):
            mask = mask & each.passing(self._hosts, self._request)
        ranked = self._ranked(np.flatnonzero(mask))
        chosen, place = self._first_with_room(ranked)
        if place is None:
            return None
        self._take(chosen, place)
        alternates = self._alternates(ranked, chosen, place, max_alternates)
        return Pick(server_id, place, alternates)

    def _ranked(self, rows: Rows) -> Ranking:
        """Best first. Equal ones keep their order, unless they are shuffled."""
        if self._rules.shuffle:
            rows = np.random.default_rng().permutation(rows)
        return Ranking(rows, self._weighing.weights(rows))

    def _first_with_room(self, ranked: Ranking) -> tuple[int, Place | None]:
        """The best host, or one of the best few, on which there is room after the earlier servers."""
        best: list[tuple[int, Place]] = []
        for piece in ranked:
            for row in piece.tolist():
                place = self._place(row)
                if place is None:
                    self._full[row] = True
                    continue
                best.append((row, place))
                if len(best) == self._rules.subset_size:
                    return random.choice(best)  # noqa: S311
        return random.choice(best) if best else (-1, None)  # noqa: S311

    def _place(self, row: int) -> Place | None:
        for allocations in self._candidates[row]:
            if self._has_room(allocations):
                providers = self._providers(allocations)
                if not providers or self._agrees(row, providers):
                    return Place(self._hosts.record(row), allocations, providers)
        return None

    def _providers(self, way: Mapping[str, Mapping[str, int]]) -> Mapping[str, tuple[str, ...]]:
        """By PCI request, those that serve its groups; nothing where there are no such groups."""
        groups = self._request.device_groups
        if not groups or not isinstance(way, Way):
            return NONE
        return {request_id: way.served_by(suffixes) for request_id, suffixes in groups.items()}

    def _agrees(self, row: int, providers: Mapping[str, tuple[str, ...]]) -> bool:
        """Whether the host can give the devices of these providers. Placement knows nothing of NUMA cells."""
        wanted = self._request.wanted.of_providers(providers.values())
        return devices.fits(self._hosts.having(row), wanted, 1)

    def _has_room(self, allocations: Mapping[str, Mapping[str, int]]) -> bool:
        """Placement has said so for one server; the view says so for more."""
        for provider, amounts in allocations.items():
            for name, amount in amounts.items():
                taken = self._taken.get((provider, name), 0)
                if taken:
                    free = self._free(provider, name)
                    if free is not None and free - taken < amount:
                        return False
        return True

    def _take(self, row: int, place: Place) -> None:
        for provider, amounts in place.allocations.items():
            for name, amount in amounts.items():
                self._taken[provider, name] += amount
            self._hosts.consume(row, amounts)
        self._hosts.place(row)
        self._request.placed(place.host.host)

    def _alternates(self, ranked: Ranking, chosen: int, place: Place, most: int) -> tuple[Place, ...]:
        found: list[Place] = []
        if most <= 0:
            return ()
        for piece in ranked:
            near = piece[self._hosts.cell[piece] == self._hosts.cell[chosen]]
            for row in near.tolist():
                if row != chosen and (other := self._place(row)) is not None:
                    found.append(other)
                    if len(found) == most:
                        return tuple(found)
        return tuple(found)


class Ranking:
    """Rows by weight, best first, in pieces: the first is short and cheap, and seldom are others looked at."""

    def __init__(self, rows: Rows, weights: Weights) -> None:
        self._pieces: list[Rows] = []
        self._rows = rows
        self._weights = weights

    def __iter__(self) -> Iterator[Rows]:
        done = 0
        while done < len(self._pieces) or self._next():
            yield self._pieces[done]
            done += 1

    def _next(self) -> bool:
        """Puts another piece in order; False when there are no rows left."""
        rows, weights = self._rows, self._weights
        if not len(rows):
            return False
        if not self._pieces and len(rows) > 2 * _FIRST:
            # Those as good as the last of the first few are taken in too, so that equal ones keep their order.
            bar = np.partition(weights, len(rows) - _FIRST)[len(rows) - _FIRST]
            best = weights >= bar
            self._rows, self._weights = rows[~best], weights[~best]
            rows, weights = rows[best], weights[best]
        else:
            self._rows, self._weights = rows[:0], weights[:0]
        self._pieces.append(rows[np.argsort(-weights, kind="stable")])
        return True
