"""The only door to rows of migrations.

A migration is its operation's: status and hosts change in the transactions of the operation's steps. Two things are
written by others: how far a live migration is, which is no state, and what users ask of one while it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.common.v1.migration_pb2 import Migration, MigrationProgress, MigrationStatus
from protonova.services.conductor.clock import set_time
from protonova.services.conductor.moves import status
from protonova.services.conductor.tables import migrations
from protonova.services.runtime import errors
from protonova.services.runtime.database import now

_columns = migrations.c
_BY_ID = sa.select(_columns.number, _columns.record).where(_columns.id == sa.bindparam("of_id"))
_FOR_CHANGE = (
    sa.select(_columns.number, _columns.generation, _columns.record, now().label("moment"))
    .where(_columns.id == sa.bindparam("of_id"))
    .with_for_update()
)


def insert(connection: Connection, migration: Migration) -> Migration:
    """Adds a migration; `number` and times are set."""
    moment = int(connection.execute(sa.select(now())).scalar_one())
    set_time(migration.created_at, moment)
    set_time(migration.updated_at, moment)
    written = connection.execute(
        sa.insert(migrations).values(
            id=migration.id,
            generation=1,
            created_at=moment,
            record=migration.SerializeToString(),
            **_indexed(migration, moment),
        )
    )
    migration.number = int(written.inserted_primary_key[0])  # type: ignore[index]
    return migration


def get(connection: Connection, migration_id: str) -> Migration:
    """Raises MIGRATION_NOT_FOUND."""
    row = connection.execute(_BY_ID, {"of_id": migration_id}).first()
    if row is None:
        raise errors.NotFound(
            f"Migration {migration_id} could not be found.",
            reason="MIGRATION_NOT_FOUND",
            migration_id=migration_id,
        )
    return _migration(row)


def exists(connection: Connection, migration_id: str) -> bool:
    return connection.execute(_BY_ID, {"of_id": migration_id}).first() is not None


def of_server(connection: Connection, server_id: str, number: int) -> Migration:
    """One of a server's, by its number. Raises MIGRATION_NOT_FOUND."""
    row = connection.execute(
        sa.select(_columns.number, _columns.record).where(
            _columns.server_id == server_id, _columns.number == number
        )
    ).first()
    if row is None:
        raise errors.NotFound(
            f"Migration {number} of server {server_id} could not be found.",
            reason="MIGRATION_NOT_FOUND",
            server_id=server_id,
            migration_id=number,
        )
    return _migration(row)


def with_status(connection: Connection, server_id: str, statuses: Collection[int]) -> list[Migration]:
    """A server's migrations in any of the statuses, newest first."""
    rows = connection.execute(
        sa.select(_columns.number, _columns.record)
        .where(_columns.server_id == server_id, _columns.status.in_(sorted(statuses)))
        .order_by(_columns.number.desc())
    )
    return [_migration(row) for row in rows]


def finished(connection: Connection, server_id: str) -> Migration:
    """The move of a server that waits to be confirmed or reverted. Raises MIGRATION_NOT_FOUND."""
    found = with_status(connection, server_id, {MigrationStatus.MIGRATION_STATUS_FINISHED})
    if not found:
        raise errors.NotFound(
            f"Server {server_id} has no finished migration.",
            reason="MIGRATION_NOT_FOUND",
            server_id=server_id,
        )
    return found[0]


def change(connection: Connection, migration_id: str, alter: Callable[[Migration], object]) -> Migration:
    """Alters a migration; `updated_at` is now. Raises MIGRATION_NOT_FOUND, CONCURRENT_UPDATE."""
    row = connection.execute(_FOR_CHANGE, {"of_id": migration_id}).first()
    if row is None:
        get(connection, migration_id)
    assert row is not None
    migration = _migration(row)
    set_time(migration.updated_at, int(row.moment))
    alter(migration)
    written = connection.execute(
        sa.update(migrations)
        .where(_columns.number == row.number, _columns.generation == row.generation)
        .values(
            generation=row.generation + 1,
            record=migration.SerializeToString(),
            **_indexed(migration, int(row.moment)),
        )
    )
    if written.rowcount != 1:
        raise errors.Aborted(f"Migration {migration_id} was changed meanwhile.", reason="CONCURRENT_UPDATE")
    return migration


def set_status(connection: Connection, migration_id: str, reached: MigrationStatus.ValueType) -> Migration:
    def alter(migration: Migration) -> None:
        migration.status = reached

    return change(connection, migration_id, alter)


def remove(connection: Connection, migration_id: str) -> None:
    connection.execute(sa.delete(migrations).where(_columns.id == migration_id))


def tell_progress(connection: Connection, migration_id: str, progress: MigrationProgress) -> None:
    change(connection, migration_id, lambda migration: migration.progress.CopyFrom(progress))


def ask(connection: Connection, migration_id: str, *, abort: bool = False, force: bool = False) -> None:
    """Notes what a user asks of a running migration; its operation looks for it."""
    values = {"abort_requested": True} if abort else {}
    values |= {"force_requested": True} if force else {}
    connection.execute(sa.update(migrations).where(_columns.id == migration_id).values(**values))


def asked(connection: Connection, migration_id: str) -> tuple[bool, bool]:
    """Whether an abort, and whether completion by force, was asked for."""
    row = connection.execute(
        sa.select(_columns.abort_requested, _columns.force_requested).where(_columns.id == migration_id)
    ).first()
    return (bool(row[0]), bool(row[1])) if row else (False, False)


def hosts_under_way(connection: Connection, server_ids: Sequence[str]) -> set[tuple[str, str]]:
    """(server, host) of all hosts that moves of these servers touch."""
    found: set[tuple[str, str]] = set()
    rows = connection.execute(
        sa.select(_columns.server_id, _columns.source_host, _columns.dest_host).where(
            _columns.server_id.in_(list(server_ids)), _columns.status.in_(sorted(status.UNDER_WAY))
        )
    )
    for server_id, source, dest in rows:
        found |= {(server_id, source), (server_id, dest)}
    return found


def live_before(connection: Connection, migration: Migration) -> int:
    """How many live migrations from the same host stand before this one: at work, or waiting for longer."""
    earlier = sa.and_(
        _columns.status == MigrationStatus.MIGRATION_STATUS_QUEUED, _columns.number < migration.number
    )
    query = (
        sa.select(sa.func.count())
        .select_from(migrations)
        .where(
            _columns.source_host == migration.source_host,
            _columns.type == status.LIVE,
            _columns.id != migration.id,
            sa.or_(_columns.status.in_(sorted(status.LIVE_AT_WORK)), earlier),
        )
    )
    return int(connection.execute(query).scalar_one())


def unfinished_on(connection: Connection, host: str) -> int:
    """How many moves still need a host, or what left it."""
    unended = sorted(status.UNDER_WAY | status.LEFT_BEHIND)
    query = (
        sa.select(sa.func.count())
        .select_from(migrations)
        .where(_columns.status.in_(unended), sa.or_(_columns.source_host == host, _columns.dest_host == host))
    )
    return int(connection.execute(query).scalar_one())


def waiting_to_be_confirmed(connection: Connection, seconds: int, limit: int) -> list[str]:
    """Servers whose move has been finished for so long, oldest first."""
    rows = connection.scalars(
        sa.select(_columns.server_id)
        .where(
            _columns.status == MigrationStatus.MIGRATION_STATUS_FINISHED,
            _columns.updated_at <= now() - seconds * 1_000_000,
            _columns.away.is_(False),
        )
        .order_by(_columns.updated_at)
        .limit(limit)
    )
    return list(rows)


def left_behind(connection: Connection, host: str) -> list[Migration]:
    """Evacuations from a host whose guests nobody has removed there yet."""
    rows = connection.execute(
        sa.select(_columns.number, _columns.record)
        .where(_columns.source_host == host, _columns.status.in_(sorted(status.LEFT_BEHIND)))
        .order_by(_columns.number)
    )
    return [_migration(row) for row in rows]


def read(rows: Iterable[Any]) -> list[Migration]:
    """Messages of rows with `number` and `record`."""
    return [_migration(row) for row in rows]


def _migration(row: Any) -> Migration:
    migration = Migration.FromString(row.record)
    migration.number = row.number
    return migration


def _indexed(migration: Migration, moment: int) -> dict[str, Any]:
    return {
        "server_id": migration.server_id,
        "type": migration.type,
        "status": migration.status,
        "away": migration.away,
        "source_host": migration.source_host,
        "dest_host": migration.dest_host,
        "project_id": migration.project_id,
        "user_id": migration.user_id,
        "updated_at": moment,
    }
