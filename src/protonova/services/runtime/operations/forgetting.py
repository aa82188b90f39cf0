"""The end of what is kept of operations: of those that ended long ago, and of secrets when they are used."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from protonova.services.runtime.operations.run import Run
from protonova.services.runtime.operations.tables import OperationTables

# At most so many in one transaction.
BATCH = 500


def forget(connection: Connection, tables: OperationTables, which: ColumnElement[bool]) -> int:
    """Removes ended operations, at most a batch of them, and their events. Returns how many they were."""
    operations, events = tables.operations, tables.events
    ended = operations.c.finished_at.is_not(None)
    query = sa.select(operations.c.id).where(ended, which).order_by(operations.c.sequence).limit(BATCH)
    ids = list(connection.scalars(query))
    if ids:
        connection.execute(events.delete().where(events.c.operation_id.in_(ids)))
        connection.execute(operations.delete().where(operations.c.id.in_(ids)))
    return len(ids)


def conceal(connection: Connection, tables: OperationTables, run: Run, *keys: str) -> None:
    """Takes from an operation's payload what nobody is to read any more."""
    bare = {key: value for key, value in run.payload.items() if key not in keys}
    operations = tables.operations
    connection.execute(operations.update().where(operations.c.id == run.id).values(payload=bare))
