"""Decides, without doing anything: which host for which server, and which others if that one refuses.

Pure but for chance: hosts, candidates and request in, a plan out. Servers of one request are placed one after
another, and each counts what the earlier ones take.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from protonova.services.scheduler.filters.filter import Filter
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.view import HostRecord, HostTable, Mask
from protonova.services.scheduler.weighers.weigher import Weigher

Rows = npt.NDArray[np.intp]
Free = Callable[[str, str], int | None]


@dataclass(frozen=True, slots=True)
class Place:
    """A way for a server to be on a host: what it would be allocated, by provider and class."""

    host: HostRecord
    allocations: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Pick:
    """A server, its place, and others in the same cell."""

    server_id: str
    place: Place
    alternates: tuple[Place, ...] = ()


@dataclass(slots=True)
class Plan:
    """Servers that got no place are told in `failures`, with the reason."""

    picks: list[Pick] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rules:
    """How hosts are chosen: the operator's filters, weighers and taste."""

    place: Filter
    filters: Sequence[Filter]
    weighers: Sequence[Weigher]
    subset_size: int = 1
    shuffle: bool = False


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
        self._taken: Counter[tuple[str, str]] = Counter()
        self._once: list[tuple[str, int]] = []
        self._each: list[tuple[str, int]] = []
        self._full = np.zeros(len(hosts), dtype=np.bool_)

    def plan(self, server_ids: Sequence[str], max_alternates: int) -> Plan:
        plan = Plan()
        passing = self._filter_once()
        for server_id in server_ids:
            pick = self._pick(server_id, passing, max_alternates)
            if pick is None:
                plan.failures[server_id] = self._explanation()
            else:
                plan.picks.append(pick)
        return plan

    def _explanation(self) -> str:
        """How many hosts were left after each filter, for the server looked at last."""
        steps = "; ".join(f"{name}: {count}" for name, count in (*self._once, *self._each))
        return f"No valid host was found. Hosts with room: {len(self._hosts)}. Left after {steps}."

    def _filter_once(self) -> Mask:
        mask = self._rules.place.passing(self._hosts, self._request)
        self._once.append((self._rules.place.name, int(mask.sum())))
        for each in self._filters(once=True):
            mask &= each.passing(self._hosts, self._request)
            self._once.append((each.name, int(mask.sum())))
        return mask

    def _filters(self, *, once: bool) -> list[Filter]:
        if self._request.spec.skip_filters:
            return []
        return [each for each in self._rules.filters if each.once is once]

    def _pick(self, server_id: str, passing: Mask, max_alternates: int) -> Pick | None:
        mask = passing & ~self._full
        self._each = [("earlier servers of this request", int(mask.sum()))] if self._full.any() else []
        for each in self._filters(once=False):
            mask = mask & each.passing(self._hosts, self._request)
            self._each.append((each.name, int(mask.sum())))
        ranked = self._ranked(np.flatnonzero(mask))
        chosen, place = self._first_with_room(ranked)
        if place is None:
            if ranked:
                self._each.append(("earlier servers of this request", 0))
            return None
        self._take(chosen, place)
        alternates = self._alternates(ranked, chosen, place, max_alternates)
        return Pick(server_id, place, alternates)

    def _ranked(self, rows: Rows) -> list[int]:
        """Best first. Equal ones keep their order, unless they are shuffled."""
        if len(rows) < 2:
            return [int(row) for row in rows]
        if self._rules.shuffle:
            rows = np.random.default_rng().permutation(rows)
        total = np.zeros(len(rows))
        for weigher in self._rules.weighers:
            total += weigher.weights(weigher.raw(self._hosts, self._request)[rows])
        found: list[int] = rows[np.argsort(-total, kind="stable")].tolist()
        return found

    def _first_with_room(self, ranked: list[int]) -> tuple[int, Place | None]:
        """The best host, or one of the best few, on which there is room after the earlier servers."""
        best: list[tuple[int, Place]] = []
        for row in ranked:
            place = self._place(row)
            if place is None:
                self._full[row] = True
                continue
            best.append((row, place))
            if len(best) == self._rules.subset_size:
                break
        if not best:
            return -1, None
        return best[0] if len(best) == 1 else random.choice(best)  # noqa: S311

    def _place(self, row: int) -> Place | None:
        for allocations in self._candidates[row]:
            if self._has_room(allocations):
                return Place(self._hosts.records[row], allocations)
        return None

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
        self._request.placed(place.host.host)

    def _alternates(self, ranked: list[int], chosen: int, place: Place, most: int) -> tuple[Place, ...]:
        found: list[Place] = []
        for row in ranked:
            if len(found) >= most:
                break
            if row == chosen or self._hosts.records[row].cell_id != place.host.cell_id:
                continue
            other = self._place(row)
            if other is not None:
                found.append(other)
        return tuple(found)
