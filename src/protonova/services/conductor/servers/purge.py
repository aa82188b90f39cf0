"""The end of the record of servers that were deleted long ago.

With a server go its migrations, its tags and what was ever done to it; operations of what is no server (images
fetched ahead and the like) go by their own age. A server that an operation is still about stays, whatever its age.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from protonova.services.conductor.tables import (
    builds,
    console_tokens,
    migrations,
    operation_tables,
    server_tags,
    servers,
)
from protonova.services.runtime.database import Database, now
from protonova.services.runtime.operations.forgetting import BATCH, forget

_DAY = 86_400_000_000
_operations = operation_tables.operations


def purge(db: Database, days: float) -> int:
    """Forgets all that ended so many days ago or earlier; how many servers that were. Nothing where `days` is 0."""
    if days <= 0:
        return 0
    age = int(days * _DAY)
    total = 0
    while count := db.write(lambda connection: _servers(connection, age)):
        total += count
    while db.write(lambda connection: forget(connection, operation_tables, _others(age))):
        pass
    return total


def _servers(connection: Connection, age: int) -> int:
    under_way = sa.exists().where(_operations.c.subject == servers.c.id, _operations.c.finished_at.is_(None))
    ids = list(
        connection.scalars(
            sa.select(servers.c.id)
            .where(servers.c.deleted_at > 0, servers.c.deleted_at <= now() - age, ~under_way)
            .order_by(servers.c.number)
            .limit(BATCH)
        )
    )
    if not ids:
        return 0
    while forget(connection, operation_tables, _operations.c.subject.in_(ids)):
        pass
    for table in (migrations, server_tags, console_tokens, builds):
        connection.execute(table.delete().where(table.c.server_id.in_(ids)))
    connection.execute(servers.delete().where(servers.c.id.in_(ids)))
    return len(ids)


def _others(age: int) -> ColumnElement[bool]:
    of_server = sa.exists().where(servers.c.id == _operations.c.subject)
    return sa.and_(_operations.c.finished_at <= now() - age, ~of_server)
