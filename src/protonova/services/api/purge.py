"""The end of what is remembered of servers that were deleted long ago: that they were, and how they were built.

Operations of what is no server (charges of moves, mirrored aggregates) go by their own age.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, exists, or_, select

from protonova.services.api.tables import instance_mappings, operation_tables
from protonova.services.runtime.database import Database, now
from protonova.services.runtime.operations import forgetting

_subject = operation_tables.operations.c.subject
# How a server was built is known for as long as the server is.
_OF_A_SERVER = exists().where(
    or_(instance_mappings.c.id == _subject, instance_mappings.c.reservation_id == _subject)
)


def purge(db: Database, days: float) -> int:
    """Forgets all that ended so many days ago or earlier; how many servers that were. Nothing where `days` is 0."""
    return forgetting.purge(db, operation_tables, days, _servers, ~_OF_A_SERVER)


def _servers(connection: Connection, age: int) -> int:
    mappings = instance_mappings
    old = select(mappings.c.id).where(mappings.c.deleted_at <= now() - age).limit(forgetting.BATCH)
    ids = list(connection.scalars(old))
    if ids:
        connection.execute(delete(mappings).where(mappings.c.id.in_(ids)))
    return len(ids)
