"""The end of what is remembered of servers that were deleted long ago: that they were, and how they were built.

Operations of what is no server (charges of moves, mirrored aggregates) go by their own age.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, exists, or_, select

from protonova.services.api.tables import instance_mappings, operation_tables
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
    while db.write(lambda connection: _ended(connection, age)):
        pass
    return total


def _servers(connection: Connection, age: int) -> int:
    mappings = instance_mappings
    ids = list(
        connection.scalars(select(mappings.c.id).where(mappings.c.deleted_at <= now() - age).limit(BATCH))
    )
    if ids:
        connection.execute(delete(mappings).where(mappings.c.id.in_(ids)))
    return len(ids)


def _ended(connection: Connection, age: int) -> int:
    """How a server was built is known for as long as the server is."""
    subject = _operations.c.subject
    known = exists().where(
        or_(instance_mappings.c.id == subject, instance_mappings.c.reservation_id == subject)
    )
    return forget(connection, operation_tables, (_operations.c.finished_at <= now() - age) & ~known)
