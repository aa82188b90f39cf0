"""Reads the rows that claims concern, locked, and writes what the ledger decided.

The protocol of a claim, whatever the database and however many replicas:

1. The consumers are locked, where they are known, and what they hold is read.
2. The inventories that are wanted or held are read and locked together with their providers, in the order of their
   numbers: from here on no other claim changes them.
3. The ledger decides. Before a claim is refused for want of room, it is asked whether its consumers are still not
   there.
4. Providers are raised. Usage moves by `used = used + n`, on the condition that the result is within capacity: it
   is the database that refuses an over-commit, even if everything above were wrong.
5. Consumers are compared and raised by their generation, or made; their allocations are exchanged.
6. The feed of providers is told.

A row count that is not the expected one, or a consumer that somebody else has made meanwhile, means that somebody
was faster: nothing is written, all is done again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.placement import rows, tables
from protonova.services.placement.claims.change import Claim
from protonova.services.placement.claims.ledger import ConsumerEntry, Line, Page, ProviderEntry
from protonova.services.placement.index.index import UsageChange
from protonova.services.placement.inventories import of_row
from protonova.services.placement.names import Vocabulary
from protonova.services.runtime.database import now

_providers = tables.resource_providers
_inventories = tables.inventories
_consumers = tables.consumers
_allocations = tables.allocations

# Statements are made once: making one costs more than running it.
_KNOWN_CONSUMERS = (
    sa.select(_consumers)
    .where(_consumers.c.uuid.in_(sa.bindparam("uuids", expanding=True)))
    .order_by(_consumers.c.id)
    .with_for_update()
)
_MADE_MEANWHILE = (
    sa.select(_consumers.c.id).where(_consumers.c.uuid.in_(sa.bindparam("uuids", expanding=True))).limit(1)
)
_HELD = (
    sa.select(
        _allocations.c.consumer_id, _providers.c.uuid, _allocations.c.resource_class_id, _allocations.c.used
    )
    .join(_providers, _providers.c.id == _allocations.c.provider_id)
    .where(_allocations.c.consumer_id.in_(sa.bindparam("consumers", expanding=True)))
)
_LOCKED = (
    sa.select(_providers.c.id, _providers.c.uuid, _providers.c.generation, _providers.c.version, _inventories)
    .join(_inventories, _inventories.c.provider_id == _providers.c.id)
    .where(
        _providers.c.uuid.in_(sa.bindparam("uuids", expanding=True)),
        _inventories.c.resource_class_id.in_(sa.bindparam("classes", expanding=True)),
    )
    .order_by(_providers.c.id, _inventories.c.resource_class_id)
    .with_for_update(key_share=True)
    # Providers first: the other way round all inventories of a class would be locked.
    .prefix_with("STRAIGHT_JOIN", dialect="mysql")
    .prefix_with("STRAIGHT_JOIN", dialect="mariadb")
)
_RAISE_PROVIDER = (
    _providers.update()
    .where(_providers.c.id == sa.bindparam("number"))
    .values(version=sa.bindparam("new_version"), generation=sa.bindparam("new_generation"), updated_at=now())
)
_used_then = _inventories.c.used + sa.bindparam("taken", type_=sa.BigInteger)
_MOVE = (
    _inventories.update()
    .where(
        _inventories.c.provider_id == sa.bindparam("provider"),
        _inventories.c.resource_class_id == sa.bindparam("class"),
    )
    .values(used=_used_then)
)
_TAKE = _MOVE.where(_used_then <= _inventories.c.capacity)
_GIVE_BACK = _MOVE.where(_used_then >= 0)
_OWN_CONSUMER = sa.and_(
    _consumers.c.id == sa.bindparam("number"), _consumers.c.generation == sa.bindparam("was_generation")
)
_RAISE_CONSUMER = (
    _consumers.update()
    .where(_OWN_CONSUMER)
    .values(
        generation=sa.bindparam("generation"),
        project_id=sa.bindparam("project_id"),
        user_id=sa.bindparam("user_id"),
        type=sa.bindparam("type"),
        updated_at=now(),
    )
)
_REMOVE_CONSUMER = _consumers.delete().where(_OWN_CONSUMER)
_MAKE_CONSUMER = _consumers.insert().values(updated_at=now()).returning(_consumers.c.uuid, _consumers.c.id)
_EMPTY = _allocations.delete().where(
    _allocations.c.consumer_id.in_(sa.bindparam("consumers", expanding=True))
)
_HOLD = _allocations.insert()


class StaleError(Exception):
    """Somebody else changed what was read before it was locked."""


def lock_consumers(connection: Connection, claim: Claim) -> None:
    """For whoever is to lock more than a claim does: consumers come before providers."""
    connection.execute(_KNOWN_CONSUMERS, {"uuids": [change.consumer_id for change in claim]})


def read(connection: Connection, vocabulary: Vocabulary, claims: Iterable[Claim]) -> Page:
    """Everything the claims concern, locked; consumers that are not there yet cannot be."""
    changes = [change for claim in claims for change in claim]
    page = Page(consumers=_read_consumers(connection, vocabulary, [change.consumer_id for change in changes]))
    keys = {key for change in changes for key in change.wanted}
    for consumer in page.consumers.values():
        keys.update(consumer.held)
    if keys:
        numbers = {vocabulary.class_number(name) for _, name in keys}
        page.providers = _lock(connection, vocabulary, {provider for provider, _ in keys}, numbers)
    return page


def check_absent(connection: Connection, page: Page) -> None:
    """Raises StaleError when a consumer that was not there has been made before the inventories were locked: what
    is missing may be what it holds itself, as when a claim whose answer was lost arrives once more."""
    absent = [consumer.id for consumer in page.consumers.values() if consumer.number is None]
    if absent and connection.execute(_MADE_MEANWHILE, {"uuids": absent}).first() is not None:
        raise StaleError


def write(connection: Connection, page: Page) -> list[UsageChange]:
    """Answers what became of the usages of the providers that were touched, of whom the feed is still to be told.
    Raises StaleError."""
    touched = sorted(
        (provider for provider in page.providers.values() if provider.touched),
        key=lambda provider: provider.number,
    )
    _raise_providers(connection, touched)
    _move_usage(connection, touched)
    _write_consumers(connection, page)
    return [
        UsageChange(
            provider.id,
            {name: line.used + line.taken for name, line in provider.lines.items()},
            provider.number,
            provider.version + 1,
            provider.generation + provider.raised,
        )
        for provider in touched
    ]


def _read_consumers(
    connection: Connection, vocabulary: Vocabulary, ids: Sequence[str]
) -> dict[str, ConsumerEntry]:
    found = {id_: ConsumerEntry(id_) for id_ in ids}
    known: dict[int, ConsumerEntry] = {}
    for row in connection.execute(_KNOWN_CONSUMERS, {"uuids": ids}):
        entry = known[row.id] = found[row.uuid]
        entry.number = row.id
        entry.generation = entry.was_generation = row.generation
        entry.project_id, entry.user_id, entry.type = row.project_id, row.user_id, row.type
    if not known:
        return found
    # Asked only now: what a consumer holds is certain once its row is locked.
    held: dict[int, dict[tuple[str, str], int]] = {}
    for number, provider, resource_class, used in connection.execute(_HELD, {"consumers": sorted(known)}):
        held.setdefault(number, {})[provider, vocabulary.class_name(resource_class)] = used
    for number, holdings in held.items():
        known[number].held = known[number].was_held = holdings
    return found


def _lock(
    connection: Connection, vocabulary: Vocabulary, uuids: set[str], classes: set[int]
) -> dict[str, ProviderEntry]:
    found: dict[str, ProviderEntry] = {}
    for row in connection.execute(_LOCKED, {"uuids": sorted(uuids), "classes": sorted(classes)}):
        entry = found.get(row.uuid)
        if entry is None:
            entry = found[row.uuid] = ProviderEntry(row.uuid, row.id, row.generation, row.version)
        name = vocabulary.class_name(row.resource_class_id)
        entry.lines[name] = Line(row.resource_class_id, of_row(row), row.capacity, row.used)
    if missing := uuids - found.keys():
        for uuid, provider in rows.lock_many(connection, sorted(missing)).items():
            found[uuid] = ProviderEntry(uuid, provider.id, provider.generation, provider.version)
    return found


def _raise_providers(connection: Connection, touched: Sequence[ProviderEntry]) -> None:
    if touched:
        connection.execute(
            _RAISE_PROVIDER,
            [
                {
                    "number": provider.number,
                    "new_version": provider.version + 1,
                    "new_generation": provider.generation + provider.raised,
                }
                for provider in touched
            ],
        )


def _move_usage(connection: Connection, touched: Sequence[ProviderEntry]) -> None:
    moves = [
        {"provider": provider.number, "class": line.number, "taken": line.taken}
        for provider in touched
        for line in sorted(provider.lines.values(), key=lambda line: line.number)
    ]
    _each_one_row(connection, _TAKE, [move for move in moves if move["taken"] > 0])
    _each_one_row(connection, _GIVE_BACK, [move for move in moves if move["taken"] < 0])


def _write_consumers(connection: Connection, page: Page) -> None:
    changed = sorted(
        (consumer for consumer in page.consumers.values() if consumer.changed),
        key=lambda consumer: consumer.id,
    )
    kept = [consumer for consumer in changed if consumer.number is not None and consumer.held]
    gone = [consumer for consumer in changed if consumer.number is not None and not consumer.held]
    new = [consumer for consumer in changed if consumer.number is None and consumer.held]
    _each_one_row(connection, _RAISE_CONSUMER, [{**_own(consumer), **_values(consumer)} for consumer in kept])
    _make_consumers(connection, new)
    if emptied := [consumer.number for consumer in (*kept, *gone)]:
        connection.execute(_EMPTY, {"consumers": emptied})
    _insert_allocations(connection, page, (*kept, *new))
    _each_one_row(connection, _REMOVE_CONSUMER, [_own(consumer) for consumer in gone])


def _make_consumers(connection: Connection, new: Sequence[ConsumerEntry]) -> None:
    if not new:
        return
    made = connection.execute(
        _MAKE_CONSUMER, [{"uuid": consumer.id, **_values(consumer)} for consumer in new]
    )
    numbers = {row.uuid: row.id for row in made}
    for consumer in new:
        consumer.number = numbers[consumer.id]


def _own(consumer: ConsumerEntry) -> dict[str, Any]:
    return {"number": consumer.number, "was_generation": consumer.was_generation}


def _values(consumer: ConsumerEntry) -> dict[str, Any]:
    return {
        "generation": consumer.generation,
        "project_id": consumer.project_id,
        "user_id": consumer.user_id,
        "type": consumer.type,
    }


def _insert_allocations(connection: Connection, page: Page, consumers: Iterable[ConsumerEntry]) -> None:
    held = [
        {
            "consumer_id": consumer.number,
            "provider_id": page.providers[provider].number,
            "resource_class_id": page.providers[provider].lines[name].number,
            "used": amount,
        }
        for consumer in consumers
        for (provider, name), amount in sorted(consumer.held.items())
    ]
    if held:
        connection.execute(_HOLD, held)


def _each_one_row(connection: Connection, statement: sa.Executable, rows: list[dict[str, Any]]) -> None:
    """Raises StaleError unless each set of parameters concerns one row."""
    if rows and connection.execute(statement, rows).rowcount != len(rows):
        raise StaleError
