"""Whether the placement database is as this release expects it: what `protonova placement upgrade check` tells.

One snapshot, nothing is changed. A failure is what must be mended before services are trusted with the database, a
warning what an operator should know of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.placement import migrations, tables
from protonova.services.placement.holders import Nobody
from protonova.services.placement.upkeep import trees
from protonova.services.placement.upkeep.consumers import EmptyConsumers, MissingConsumers, UnnamedConsumers
from protonova.services.placement.upkeep.inventories import Capacity, Used
from protonova.services.placement.upkeep.mend import Mend
from protonova.services.placement.upkeep.trees import Roots
from protonova.services.runtime import migration
from protonova.services.runtime.database import Database

_MOST = 100_000
_SHOWN = 3
_MIGRATE = "run `protonova placement online-data-migrations`"
_HEAL = "run `protonova placement heal`"


class Verdict(IntEnum):
    """The worst of all is the exit status of the command."""

    SUCCESS = 0
    WARNING = 1
    FAILURE = 2


@dataclass(frozen=True, slots=True)
class Check:
    """One question and its answer; `details` is empty where all is well."""

    name: str
    verdict: Verdict
    details: str = ""


def run(db: Database) -> list[Check]:
    """All checks; that of the revision alone where the others could not read the schema."""
    revision = _revision(db)
    if revision.verdict is not Verdict.SUCCESS:
        return [revision]
    return [revision, *db.read(lambda connection: list(_all(connection)))]


def _revision(db: Database) -> Check:
    name = "Database revision"
    found, wanted = migration.current(db), migration.head(migrations)
    if found == wanted:
        return Check(name, Verdict.SUCCESS)
    if found is not None and found > wanted:
        return Check(name, Verdict.FAILURE, f"at {found}, which is newer than this release ({wanted})")
    return Check(
        name, Verdict.FAILURE, f"{found or 'empty'} instead of {wanted}: run `protonova placement db sync`"
    )


def _all(connection: Connection) -> Iterator[Check]:
    nobody = Nobody()
    yield _trees(connection)
    for name, verdict, mend, remedy in (
        ("Missing consumers", Verdict.WARNING, MissingConsumers(nobody), _MIGRATE),
        ("Incomplete consumers", Verdict.WARNING, UnnamedConsumers(nobody), _MIGRATE),
        ("Empty consumers", Verdict.WARNING, EmptyConsumers(), _HEAL),
        ("Usage", Verdict.FAILURE, Used(), _MIGRATE),
        ("Capacity", Verdict.FAILURE, Capacity(), _MIGRATE),
    ):
        yield _of(connection, name, verdict, mend, remedy)
    yield _over_committed(connection)
    yield _without_inventory(connection)


def _of(connection: Connection, name: str, verdict: Verdict, mend: Mend, remedy: str) -> Check:
    found = mend.find(connection, _MOST)
    if not found:
        return Check(name, Verdict.SUCCESS)
    return Check(name, verdict, f"{_listed(mend.text, list(map(mend.describe, found)))}; {remedy}")


def _trees(connection: Connection) -> Check:
    name = "Resource provider trees"
    if found := trees.contradictions(connection):
        return Check(
            name, Verdict.FAILURE, _listed("resource providers whose parents lead to no root", found)
        )
    return _of(connection, name, Verdict.FAILURE, Roots(), _MIGRATE)


def _over_committed(connection: Connection) -> Check:
    """Nothing is wrong with the books: somebody took inventory away from under its allocations."""
    inventories, providers, classes = tables.inventories, tables.resource_providers, tables.resource_classes
    found = connection.execute(
        sa.select(providers.c.uuid, classes.c.name, inventories.c.used, inventories.c.capacity)
        .select_from(inventories)
        .join(providers, providers.c.id == inventories.c.provider_id)
        .join(classes, classes.c.id == inventories.c.resource_class_id)
        .where(inventories.c.used > inventories.c.capacity)
        .order_by(inventories.c.provider_id, inventories.c.resource_class_id)
        .limit(_MOST)
    ).all()
    if not found:
        return Check("Over-commit", Verdict.SUCCESS)
    shown = [f"{name} on {uuid} ({used} of {capacity})" for uuid, name, used, capacity in found]
    return Check(
        "Over-commit", Verdict.WARNING, _listed("inventories of which more is used than they have", shown)
    )


def _without_inventory(connection: Connection) -> Check:
    allocations, inventories = tables.allocations, tables.inventories
    found = connection.execute(
        sa.select(allocations.c.consumer_id, allocations.c.provider_id, allocations.c.resource_class_id)
        .outerjoin(
            inventories,
            sa.and_(
                inventories.c.provider_id == allocations.c.provider_id,
                inventories.c.resource_class_id == allocations.c.resource_class_id,
            ),
        )
        .where(inventories.c.provider_id.is_(None))
        .limit(_MOST)
    ).all()
    if not found:
        return Check("Allocations without inventory", Verdict.SUCCESS)
    shown = [f"consumer {row[0]}, provider {row[1]}, class {row[2]} (numbers)" for row in found]
    return Check(
        "Allocations without inventory",
        Verdict.FAILURE,
        _listed("allocations of inventory that is not there", shown),
    )


def _listed(what: str, found: Sequence[str]) -> str:
    more = ", …" if len(found) > _SHOWN else ""
    return f"{len(found)} {what}: {', '.join(found[:_SHOWN])}{more}"
