"""The end of what is kept of operations: of those that ended long ago, and of secrets when they are used."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from protonova.services.runtime.database import Database, now
from protonova.services.runtime.operations.run import Run
from protonova.services.runtime.operations.tables import OperationTables

# At most so many in one transaction.
BATCH = 500

_DAY = 86_400_000_000


def purge(
    db: Database,
    tables: OperationTables,
    days: float,
    subjects: Callable[[Connection, int], int],
    others: ColumnElement[bool],
) -> int:
    """Forgets all that ended so many days ago or earlier, batch by batch. Nothing where `days` is 0.

    `subjects` removes a batch of what operations were about and has gone longer ago than so many microseconds, and
    says how many those were, of which the sum is returned; `others` are the operations that go by their own age."""
    if days <= 0:
        return 0
    age = int(days * _DAY)
    total = 0
    while count := db.write(lambda connection: subjects(connection, age)):
        total += count
    old = tables.operations.c.finished_at <= now() - age
    while db.write(lambda connection: forget(connection, tables, old & others)):
        pass
    return total


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
