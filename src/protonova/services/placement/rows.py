"""Rows of providers: finding and locking them, raising their generation, telling the feed.

Whoever changes a provider, or anything that hangs on it, locks its row first, several in the order of their
numbers, raises `version` (and `generation` where the change is public), and tells the feed last. Rows that come to
refer to a provider do not wait for such a lock: they would wait for it in another order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.placement import refusals, tables
from protonova.services.runtime import feeds
from protonova.services.runtime.database import now

_providers = tables.resource_providers


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """The row as it was when it was locked."""

    id: int
    uuid: str
    name: str
    generation: int
    version: int
    root_id: int
    parent_id: int | None


_COLUMNS = [
    _providers.c[name] for name in ("id", "uuid", "name", "generation", "version", "root_id", "parent_id")
]


def find(connection: Connection, uuid: str) -> ProviderRow | None:
    row = connection.execute(sa.select(*_COLUMNS).where(_providers.c.uuid == uuid)).first()
    return None if row is None else ProviderRow(*row)


def get(connection: Connection, uuid: str) -> ProviderRow:
    """Raises PROVIDER_NOT_FOUND."""
    row = find(connection, uuid)
    if row is None:
        raise refusals.provider_not_found(uuid)
    return row


def lock(connection: Connection, uuid: str, generation: int | None = None) -> ProviderRow:
    """Nobody else changes the provider until this transaction ends. Raises PROVIDER_NOT_FOUND, and
    CONCURRENT_UPDATE when it is not of the generation that is asked for."""
    row = connection.execute(
        sa.select(*_COLUMNS).where(_providers.c.uuid == uuid).with_for_update(key_share=True)
    ).first()
    if row is None:
        raise refusals.provider_not_found(uuid)
    found = ProviderRow(*row)
    if generation is not None and found.generation != generation:
        raise refusals.provider_changed(uuid)
    return found


def lock_many(connection: Connection, uuids: Iterable[str]) -> dict[str, ProviderRow]:
    """Locks in the order of their numbers; those that are not there are left out."""
    wanted = list(uuids)
    rows = connection.execute(
        sa.select(*_COLUMNS)
        .where(_providers.c.uuid.in_(wanted))
        .order_by(_providers.c.id)
        .with_for_update(key_share=True)
    )
    return {row.uuid: ProviderRow(*row) for row in rows}


def touch(connection: Connection, row: ProviderRow, *, public: bool = True) -> int:
    """Marks a locked provider as changed; answers its generation."""
    generation = row.generation + (1 if public else 0)
    connection.execute(
        _providers.update()
        .where(_providers.c.id == row.id)
        .values(version=row.version + 1, generation=generation, updated_at=now())
    )
    return generation


def touch_quietly(connection: Connection, ids: Sequence[int]) -> None:
    """Raises the version of providers that changed along with another; the caller keeps others away."""
    if ids:
        connection.execute(
            _providers.update()
            .where(_providers.c.id.in_(ids))
            .values(version=_providers.c.version + 1, updated_at=now())
        )


def tell(connection: Connection, uuids: Iterable[str], *, deleted: bool = False) -> None:
    """Tells the feed of providers; the last statement of a transaction."""
    feeds.publish(connection, tables.PROVIDER_TOPIC, sorted(uuids), deleted=deleted)
