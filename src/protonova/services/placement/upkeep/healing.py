"""Heals: mends the database, then what it and the cloud disagree about.

What is found by comparing is looked at once more right before anything is done about it, with the owners of servers
and operations; and it is done by compare-and-set on the consumer's generation, so that whoever changed the consumer
meanwhile wins. Nothing is done about consumers that are no servers', nor about servers that are being built, moved
or deleted. A server that lacks its allocation is given it by the scheduler, by the rules of a build.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.placement import tables
from protonova.services.placement.holders import Nobody
from protonova.services.placement.upkeep import mend as mending
from protonova.services.placement.upkeep import mends
from protonova.services.placement.upkeep.comparing import Holder, Plan, compare
from protonova.services.placement.upkeep.region import Region
from protonova.services.placement.upkeep.remedies import Claimer, Remover
from protonova.services.runtime import channel, errors
from protonova.services.runtime.config import Conf
from protonova.services.runtime.database import Database, now

_MOST_LISTED = 10_000


class Outcome(StrEnum):
    """LEFT may be mended by another run, REFUSED not before something else changes."""

    MENDED = "mended"
    LEFT = "left"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Entry:
    """One contradiction, and what became of it. `kind` is a word for programs."""

    kind: str
    text: str
    outcome: Outcome


@dataclass(slots=True)
class Report:
    """`unheard` says who of the cloud did not answer; what depends on them was not looked at."""

    entries: list[Entry] = field(default_factory=list)
    unheard: str = ""

    def count(self, outcome: Outcome) -> int:
        return sum(entry.outcome is outcome for entry in self.entries)


@dataclass(frozen=True, slots=True)
class Wish:
    """`most` bounds what is mended, `grace` is in seconds, `cells` are names or ids (empty = all)."""

    dry_run: bool = False
    most: int | None = None
    grace: float = 600.0
    cells: tuple[str, ...] = ()


class UnknownCell(Exception):
    """No cell of the cloud has this name or id."""


class Healer:
    """Heals once."""

    def __init__(self, conf: Conf, db: Database, wish: Wish, told: Callable[[Entry], None]) -> None:
        self._conf = conf
        self._db = db
        self._wish = wish
        self._told = told
        self._report = Report()

    def heal(self) -> Report:
        """Raises UnknownCell, and what the database raises."""
        for mend in mends.all_of(Nobody.of(self._conf)):
            self._mend(mend)
        region = Region(self._conf)
        try:
            self._compare(region)
        except errors.Error as error:
            self._report.unheard = str(error)
        finally:
            region.close()
        return self._report

    def _mend(self, mend: mending.Mend) -> None:
        if self._wish.dry_run:
            for key in self._db.read(lambda connection: mend.find(connection, _MOST_LISTED)):
                self._tell(mend.name, mend.describe(key), Outcome.LEFT)
            return
        for batch in mending.run(self._db, mend, self._left()):
            for text in batch.found:
                self._tell(mend.name, text, Outcome.MENDED)
        if self._left() == 0 and mending.left(self._db, mend):
            self._tell(mend.name, f"there are more {mend.text}", Outcome.LEFT)

    def _compare(self, region: Region) -> None:
        # Who holds is asked before who exists: what is made in between is in the census.
        holders = self._db.read(_holders)
        census = region.census()
        chosen = {
            id_
            for id_, name in census.cells.items()
            if not self._wish.cells or id_ in self._wish.cells or name in self._wish.cells
        }
        for name in self._wish.cells:
            if name not in census.cells and name not in census.cells.values():
                raise UnknownCell(name)
        if census.silent:
            self._report.unheard = f"cells that do not answer: {', '.join(census.silent)}"
        self._carry_out(compare(holders, census, chosen, self._wish.grace), region)

    def _carry_out(self, plan: Plan, region: Region) -> None:
        remover = Remover(self._conf, self._db)
        for holder in plan.left_over:
            text = f"consumer {holder.id} is no server of any cell"
            self._do("left-over", text, lambda holder=holder: remover.remove(holder, region))  # type: ignore[misc]
        with channel.connect(self._conf, self._conf.scheduler.target) as connected:
            claimer = Claimer(connected, self._db, remover)
            for placed in plan.lacking:
                text = f"server {placed.id} on {placed.host} holds nothing"
                self._do("lacking", text, lambda placed=placed: claimer.claim(placed, region))  # type: ignore[misc]
        for placed in plan.astray:
            text = f"server {placed.id} holds something, but nothing of its host {placed.host}"
            self._tell("astray", text, Outcome.REFUSED)

    def _do(self, kind: str, text: str, act: Callable[[], str]) -> None:
        """`act` answers what it could not do, and why; empty = it is done."""
        if self._wish.dry_run or self._left() == 0:
            self._tell(kind, text, Outcome.LEFT)
            return
        try:
            refusal = act()
        except errors.Aborted:
            self._tell(kind, f"{text}, or did not: it has changed meanwhile", Outcome.LEFT)
        except errors.Error as error:
            self._tell(kind, f"{text}: {error}", Outcome.REFUSED)
        else:
            outcome = Outcome.REFUSED if refusal else Outcome.MENDED
            self._tell(kind, f"{text}: {refusal}" if refusal else text, outcome)

    def _tell(self, kind: str, text: str, outcome: Outcome) -> None:
        entry = Entry(kind, text, outcome)
        self._report.entries.append(entry)
        self._told(entry)

    def _left(self) -> int | None:
        """How much may still be mended."""
        if self._wish.most is None:
            return None
        return max(self._wish.most - self._report.count(Outcome.MENDED), 0)


def _holders(connection: Connection) -> list[Holder]:
    consumers, allocations, providers = tables.consumers, tables.allocations, tables.resource_providers
    root = providers.alias("root")
    query = (
        sa.select(
            consumers.c.uuid,
            consumers.c.generation,
            consumers.c.type,
            (now() - consumers.c.updated_at).label("age"),
            root.c.uuid.label("root"),
        )
        .distinct()
        .join(allocations, allocations.c.consumer_id == consumers.c.id)
        .join(providers, providers.c.id == allocations.c.provider_id)
        .join(root, root.c.id == providers.c.root_id)
    )
    found: dict[str, Holder] = {}
    roots: dict[str, set[str]] = {}
    for row in connection.execute(query):
        roots.setdefault(row.uuid, set()).add(row.root)
        age = max(float(row.age), 0.0) / 1_000_000
        found[row.uuid] = Holder(row.uuid, row.generation, row.type, age, frozenset(roots[row.uuid]))
    return list(found.values())
