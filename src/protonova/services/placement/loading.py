"""Reads whole providers from the database, many at a time, as records.

Names come with the rows, not from memory: a record is of one snapshot in everything, also when a class has just
got another name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.placement import tables
from protonova.services.placement.inventories import of_row
from protonova.services.placement.records import Inventory, ProviderRecord

_CHUNK = 500
_providers = tables.resource_providers
_root = _providers.alias("root")
_parent = _providers.alias("parent")


def load(connection: Connection, ids: Iterable[str]) -> dict[str, ProviderRecord]:
    """Records by id; providers that are not there are left out."""
    found: dict[str, ProviderRecord] = {}
    wanted = list(ids)
    for start in range(0, len(wanted), _CHUNK):
        found.update(_chunk(connection, wanted[start : start + _CHUNK]))
    return found


def orders(connection: Connection, ids: Iterable[str]) -> dict[str, tuple[int, int]]:
    """How new the providers in the database are, comparable with `ProviderRecord.order`."""
    found: dict[str, tuple[int, int]] = {}
    wanted = list(ids)
    for start in range(0, len(wanted), _CHUNK):
        rows = connection.execute(
            sa.select(_providers.c.uuid, _providers.c.id, _providers.c.version).where(
                _providers.c.uuid.in_(wanted[start : start + _CHUNK])
            )
        )
        found.update((uuid, (id_, version)) for uuid, id_, version in rows)
    return found


def _chunk(connection: Connection, ids: Sequence[str]) -> dict[str, ProviderRecord]:
    rows = connection.execute(
        sa.select(_providers, _root.c.uuid.label("root_uuid"), _parent.c.uuid.label("parent_uuid"))
        .join(_root, _root.c.id == _providers.c.root_id)
        .outerjoin(_parent, _parent.c.id == _providers.c.parent_id)
        .where(_providers.c.uuid.in_(ids))
    ).all()
    numbers = [row.id for row in rows]
    if not numbers:
        return {}
    inventories: dict[int, dict[str, Inventory]] = {number: {} for number in numbers}
    used: dict[int, dict[str, int]] = {number: {} for number in numbers}
    classes = tables.resource_classes
    for row in connection.execute(
        sa.select(tables.inventories, classes.c.name.label("class_name"))
        .join(classes, classes.c.id == tables.inventories.c.resource_class_id)
        .where(tables.inventories.c.provider_id.in_(numbers))
    ):
        inventories[row.provider_id][row.class_name] = of_row(row)
        used[row.provider_id][row.class_name] = row.used
    traits = _traits(connection, numbers)
    aggregates = _aggregates(connection, numbers)
    return {
        row.uuid: ProviderRecord(
            id=row.uuid,
            name=row.name,
            generation=row.generation,
            incarnation=row.id,
            version=row.version,
            root=row.root_uuid,
            parent=row.parent_uuid or "",
            updated_at=row.updated_at,
            inventories=inventories[row.id],
            used=used[row.id],
            traits=frozenset(traits[row.id]),
            aggregates=frozenset(aggregates[row.id]),
        )
        for row in rows
    }


def _traits(connection: Connection, numbers: Sequence[int]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {number: set() for number in numbers}
    table = tables.provider_traits
    for provider, name in connection.execute(
        sa.select(table.c.provider_id, tables.traits.c.name)
        .join(tables.traits, tables.traits.c.id == table.c.trait_id)
        .where(table.c.provider_id.in_(numbers))
    ):
        found[provider].add(name)
    return found


def _aggregates(connection: Connection, numbers: Sequence[int]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {number: set() for number in numbers}
    table = tables.provider_aggregates
    for provider, uuid in connection.execute(
        sa.select(table.c.provider_id, tables.aggregates.c.uuid)
        .join(tables.aggregates, tables.aggregates.c.id == table.c.aggregate_id)
        .where(table.c.provider_id.in_(numbers))
    ):
        found[provider].add(uuid)
    return found
