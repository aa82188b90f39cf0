"""Reads whole providers from the database, many at a time, as records.

Names come with the rows, not from memory: a record is of one snapshot in everything, also when a class has just
got another name. Hosts of a cloud are much alike, so equal inventories, usages, traits and aggregates are one
object in memory, whichever records they belong to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import groupby
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.placement import tables
from protonova.services.placement.records import Inventory, ProviderRecord
from protonova.services.runtime.database import Database

_CHUNK = 500
# A page's rows are in memory at once; fewer pages are fewer queries.
_PAGE = 4_000
# How many different inventories, usages and sets of names are remembered in order to be shared.
_KINDS = 8_192

_providers = tables.resource_providers
_inventories = tables.inventories
_classes = tables.resource_classes

_PROVIDERS = sa.select(
    _providers.c.id,
    _providers.c.uuid,
    _providers.c.name,
    _providers.c.generation,
    _providers.c.version,
    _providers.c.updated_at,
    _providers.c.root_id,
    _providers.c.parent_id,
).order_by(_providers.c.id)
_INVENTORIES = (
    sa.select(
        _inventories.c.provider_id,
        _classes.c.name,
        _inventories.c.total,
        _inventories.c.reserved,
        _inventories.c.min_unit,
        _inventories.c.max_unit,
        _inventories.c.step_size,
        _inventories.c.allocation_ratio,
        _inventories.c.used,
    )
    .join(_classes, _classes.c.id == _inventories.c.resource_class_id)
    .order_by(_inventories.c.provider_id, _inventories.c.resource_class_id)
)


def _belonging(
    table: sa.Table, named: sa.Table, number: sa.Column[int], name: sa.Column[str]
) -> sa.Select[Any]:
    return (
        sa.select(table.c.provider_id, name)
        .join(named, named.c.id == number)
        .order_by(table.c.provider_id, number)
    )


_TRAITS = _belonging(
    tables.provider_traits, tables.traits, tables.provider_traits.c.trait_id, tables.traits.c.name
)
_AGGREGATES = _belonging(
    tables.provider_aggregates,
    tables.aggregates,
    tables.provider_aggregates.c.aggregate_id,
    tables.aggregates.c.uuid,
)


def load(connection: Connection, ids: Iterable[str]) -> dict[str, ProviderRecord]:
    """Records by id; providers that are not there are left out."""
    found: dict[str, ProviderRecord] = {}
    wanted = list(ids)
    for start in range(0, len(wanted), _CHUNK):
        chosen = _providers.c.uuid.in_(wanted[start : start + _CHUNK])
        rows = connection.execute(_PROVIDERS.where(chosen)).all()
        numbers = [row[0] for row in rows]
        of_them = partial(sa.ColumnElement.in_, other=numbers)
        found.update((record.id, record) for record in _records(connection, rows, of_them))
    return found


def everything(db: Database) -> Iterator[ProviderRecord]:
    """All providers, in the order they were made; those of a page are of one moment, and later pages are newer."""
    after = 0
    while True:
        page = db.read(partial(_page, after=after))
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].incarnation


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


def _page(connection: Connection, after: int) -> list[ProviderRecord]:
    rows = connection.execute(_PROVIDERS.where(_providers.c.id > after).limit(_PAGE)).all()
    if not rows:
        return []
    first, last = rows[0][0], rows[-1][0]
    return list(_records(connection, rows, partial(sa.ColumnElement.between, cleft=first, cright=last)))


def _records(
    connection: Connection,
    rows: Sequence[Any],
    of_them: Callable[[sa.Column[int]], sa.ColumnElement[bool]],
) -> Iterator[ProviderRecord]:
    """`of_them` makes, of a column with numbers of providers, the condition that it is one of these rows'."""
    if not rows:
        return
    inventories = _by_provider(connection, _INVENTORIES.where(of_them(_inventories.c.provider_id)))
    traits = _by_provider(connection, _TRAITS.where(of_them(tables.provider_traits.c.provider_id)))
    aggregates = _by_provider(
        connection, _AGGREGATES.where(of_them(tables.provider_aggregates.c.provider_id))
    )
    ids = _ids(connection, rows)
    for number, uuid, name, generation, version, updated_at, root, parent in rows:
        lines = inventories.get(number, ())
        yield ProviderRecord(
            id=uuid,
            name=name,
            generation=generation,
            incarnation=number,
            version=version,
            root=ids[root],
            parent="" if parent is None else ids[parent],
            updated_at=updated_at,
            inventories=_inventories_of(tuple([line[1:8] for line in lines])),
            used=_usage_of(tuple([(line[1], line[8]) for line in lines])),
            traits=_names_of(tuple([line[1] for line in traits.get(number, ())])),
            aggregates=_names_of(tuple([line[1] for line in aggregates.get(number, ())])),
        )


def _ids(connection: Connection, rows: Sequence[Any]) -> dict[int, str]:
    """By number, those of the providers and of their roots and parents, most of which are among them."""
    found = {row[0]: row[1] for row in rows}
    missing = sorted({number for row in rows for number in row[6:] if number is not None} - found.keys())
    for start in range(0, len(missing), _CHUNK):
        chosen = _providers.c.id.in_(missing[start : start + _CHUNK])
        rest = connection.execute(sa.select(_providers.c.id, _providers.c.uuid).where(chosen))
        found.update((number, uuid) for number, uuid in rest)
    return found


def _by_provider(connection: Connection, query: sa.Select[Any]) -> dict[int, tuple[Any, ...]]:
    rows = connection.execute(query)
    return {number: tuple(lines) for number, lines in groupby(rows, itemgetter(0))}


@lru_cache(_KINDS)
def _inventories_of(lines: tuple[tuple[Any, ...], ...]) -> Mapping[str, Inventory]:
    return {name: Inventory(*amounts) for name, *amounts in lines}


@lru_cache(_KINDS)
def _usage_of(lines: tuple[tuple[str, int], ...]) -> Mapping[str, int]:
    return dict(lines)


@lru_cache(_KINDS)
def _names_of(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(names)
