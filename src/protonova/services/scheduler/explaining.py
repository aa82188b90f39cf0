"""Why hosts do or do not take a server: the same stages as a decision, asked of every host in the view.

A decision looks only at hosts that placement offers and forgets those that fall out; this looks at all of them and
remembers where each fell. It costs what a few decisions do and books nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from protonova.services.scheduler.filters.filter import Filter
from protonova.services.scheduler.hosts import HostRecord
from protonova.services.scheduler.planning import Place, Rules
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import FREE_COLUMNS, Mask, Numbers
from protonova.services.scheduler.view import HostView
from protonova.services.scheduler.weighers.weigher import Weights

PLACEMENT = "placement"
_ELSEWISE = (
    "placement does not offer it, though it has room: by its traits, aggregates or sizes of allocations"
)


@dataclass(frozen=True, slots=True)
class Stage:
    """Hosts before and after placement, or a filter; and what those that fell out are short of, in words."""

    name: str
    before: int
    after: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Shortage:
    """Of the hosts that placement did not offer: how many have too little free of a class, the most any of them
    has."""

    resource_class: str
    requested: int
    hosts_short: int
    most_free: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """One host: the stage where it fell out and why, or (`stage` empty) its weight and what makes it up."""

    host: HostRecord
    stage: str = ""
    reason: str = ""
    weight: float = 0.0
    weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Explanation:
    """All hosts, the stages they went through, and what was told of some of them."""

    hosts: int
    stages: Sequence[Stage] = ()
    shortages: Sequence[Shortage] = ()
    verdicts: Sequence[Verdict] = ()

    def words(self) -> str:
        """One sentence of what each stage that removed hosts left."""
        if not self.hosts:
            return "No hosts are known."
        told = [_left(stage, self.shortages) for stage in self.stages if stage.after < stage.before]
        return f"Of {_counted(self.hosts)} {'; '.join(told) or 'all pass'}."


class Explainer:
    """Explains one request. `offered` are the root ids placement names, all of them; `amounts` is what a server
    asks for by class; `taken` are places that earlier servers of the request have got."""

    def __init__(
        self,
        view: HostView,
        rules: Rules,
        request: Request,
        offered: Iterable[str],
        amounts: Mapping[str, int],
        taken: Sequence[Place] = (),
    ) -> None:
        self._rules = rules
        self._request = request
        self._amounts = amounts
        nodes = view.node_ids()
        self._hosts, rows = view.table(nodes)
        row_of = dict(zip(nodes, rows.tolist(), strict=True))
        self._offered: Mask = np.zeros(len(self._hosts), dtype=np.bool_)
        self._offered[[row_of[node] for node in offered if row_of.get(node, -1) >= 0]] = True
        self._free = {name: self._free_of(view, name) for name in amounts}
        for place in taken:
            self._take(row_of[place.host.node_id], place)

    def explain(self, most_verdicts: int) -> Explanation:
        """Verdicts on at most so many hosts: those that pass, best first, then those that fell out last.
        Raises what filters raise for a request that makes no sense."""
        hosts = self._hosts
        fell = np.full(len(hosts), -1, dtype=np.intp)
        mask = self._offered.copy()
        fell[~mask] = 0
        stages = [Stage(PLACEMENT, len(hosts), int(mask.sum()))]
        filters = list(self._filters())
        for number, each in enumerate(filters, start=1):
            passing = mask & each.passing(hosts, self._request)
            fell[mask & ~passing] = number
            note = each.note(hosts, mask & ~passing, self._request) if (mask & ~passing).any() else ""
            stages.append(Stage(each.name, int(mask.sum()), int(passing.sum()), note))
            mask = passing
        return Explanation(
            len(hosts), stages, self._shortages(), list(self._verdicts(fell, mask, filters, most_verdicts))
        )

    def _filters(self) -> Iterator[Filter]:
        """In the order in which a decision asks them."""
        yield self._rules.place
        asked = self._rules.asked(self._request)
        yield from (each for each in asked if each.once)
        yield from (each for each in asked if not each.once)

    def _free_of(self, view: HostView, name: str) -> Numbers:
        if (column := FREE_COLUMNS.get(name)) is not None:
            free: Numbers = getattr(self._hosts, column).copy()
            return free
        return np.array([view.free_below(record.node_id, name) for record in self._hosts.records], np.int64)

    def _take(self, row: int, place: Place) -> None:
        for amounts in place.allocations.values():
            self._hosts.consume(row, amounts)
            for name, amount in amounts.items():
                if name in self._free:
                    self._free[name][row] -= amount
        self._hosts.place(row)
        self._offered[row] &= all(self._free[name][row] >= amount for name, amount in self._amounts.items())

    def _shortages(self) -> list[Shortage]:
        found = []
        for name, amount in self._amounts.items():
            free = self._free[name]
            short = ~self._offered & (free < amount)
            if short.any():
                found.append(Shortage(name, amount, int(short.sum()), int(free[short].max())))
        return found

    def _verdicts(
        self, fell: Numbers, passing: Mask, filters: Sequence[Filter], most: int
    ) -> Iterator[Verdict]:
        if most <= 0:
            return
        yield from self._passing(np.flatnonzero(passing), most)
        for row in np.argsort(-fell, kind="stable")[: max(most - int(passing.sum()), 0)].tolist():
            stage = int(fell[row])
            if stage < 0:
                break
            record = self._hosts.record(row)
            if stage == 0:
                yield Verdict(record, PLACEMENT, self._missing(row))
            else:
                each = filters[stage - 1]
                yield Verdict(
                    record, each.name, each.reason(self._hosts, row, self._request) or rule_of(each)
                )

    def _passing(self, rows: Numbers, most: int) -> Iterator[Verdict]:
        parts: dict[str, Weights] = {}
        total = np.zeros(len(rows))
        if len(rows) > 1:
            for weigher in self._rules.weighers:
                if weigher.counts(self._hosts):
                    parts[weigher.name] = weigher.weights(self._hosts, rows, self._request)
                    total += parts[weigher.name]
        for place in np.argsort(-total, kind="stable")[:most].tolist():
            weights = {name: float(part[place]) for name, part in parts.items()}
            yield Verdict(self._hosts.record(int(rows[place])), weight=float(total[place]), weights=weights)

    def _missing(self, row: int) -> str:
        short = [
            f"{_amount(name, amount)}, {max(int(self._free[name][row]), 0):,} free"
            for name, amount in self._amounts.items()
            if self._free[name][row] < amount
        ]
        return f"short of {' and '.join(short)}" if short else _ELSEWISE


def rule_of(each: Filter) -> str:
    """What its documentation says first: which hosts it takes."""
    text = inspect.getdoc(type(each)) or ""
    return " ".join(text.partition("\n\n")[0].split()) or "it does not take this host"


def _left(stage: Stage, shortages: Sequence[Shortage]) -> str:
    verb = "offers" if stage.name == PLACEMENT else "left"
    told = f"{stage.name} {verb} {stage.after or 'none'}"
    if stage.name == PLACEMENT and shortages:
        told += f" ({'; '.join(map(_short, sorted(shortages, key=lambda one: -one.hosts_short)))})"
    if stage.note:
        told += f" ({stage.note})"
    return told


def _short(one: Shortage) -> str:
    wanted = _amount(one.resource_class, one.requested)
    return f"{one.hosts_short:,} short of {wanted}, at most {max(one.most_free, 0):,} free"


def _amount(resource_class: str, amount: int) -> str:
    return f"{amount:,} {resource_class}"


def _counted(hosts: int) -> str:
    return "1 host" if hosts == 1 else f"{hosts:,} hosts"
