"""The end of the record of servers that were deleted long ago.

With a server go its migrations, its tags and what was ever done to it; operations of what is no server (images
fetched ahead and the like) go by their own age. A server that an operation is still about stays, whatever its age.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.conductor.tables import (
    builds,
    console_tokens,
    migrations,
    operation_tables,
    server_shares,
    server_tags,
    servers,
)
from protonova.services.runtime.database import Database, now
from protonova.services.runtime.operations import forgetting

_operations = operation_tables.operations
_OF_A_SERVER = sa.exists().where(servers.c.id == _operations.c.subject)


def purge(db: Database, days: float) -> int:
    """Forgets all that ended so many days ago or earlier; how many servers that were. Nothing where `days` is 0."""
    return forgetting.purge(db, operation_tables, days, _servers, ~_OF_A_SERVER)


def _servers(connection: Connection, age: int) -> int:
    under_way = sa.exists().where(_operations.c.subject == servers.c.id, _operations.c.finished_at.is_(None))
    ids = list(
        connection.scalars(
            sa.select(servers.c.id)
            .where(servers.c.deleted_at > 0, servers.c.deleted_at <= now() - age, ~under_way)
            .order_by(servers.c.number)
            .limit(forgetting.BATCH)
        )
    )
    if not ids:
        return 0
    while forgetting.forget(connection, operation_tables, _operations.c.subject.in_(ids)):
        pass
    for table in (migrations, server_tags, server_shares, console_tokens, builds):
        connection.execute(table.delete().where(table.c.server_id.in_(ids)))
    connection.execute(servers.delete().where(servers.c.id.in_(ids)))
    return len(ids)
