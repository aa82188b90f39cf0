"""Operations as operators and the tests see them, and what operators may do to a stuck one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.runtime import errors
from protonova.services.runtime.database import Database, now
from protonova.services.runtime.operations.tables import OperationTables


@dataclass(frozen=True)
class Operation:
    """Times are microseconds since the epoch; `finished_at` 0 = not yet."""

    id: str
    sequence: int
    kind: str
    action: str
    subject: str
    state: str
    step: str
    direction: str
    round: int
    attempt: int
    generation: int
    owner: str
    preempted: bool
    memory: dict[str, Any]
    # What it failed for, or what a stuck one cannot undo.
    error: errors.Error | None
    request_id: str
    project_id: str
    user_id: str
    created_at: int
    updated_at: int
    finished_at: int
    deadline_at: int


@dataclass(frozen=True)
class Event:
    step: str
    event: str
    direction: str
    host: str
    started_at: int
    finished_at: int
    result: str
    details: str


class Records:
    def __init__(self, db: Database, tables: OperationTables) -> None:
        self._db = db
        self._operations = tables.operations
        self._events = tables.events

    def list(
        self, states: Sequence[str] = (), subject: str = "", limit: int = 100, before: int = 0
    ) -> list[Operation]:
        """Newest first; `before` = the sequence of the last one of the page before."""
        o = self._operations
        query = o.select().order_by(o.c.sequence.desc()).limit(limit)
        if states:
            query = query.where(o.c.state.in_(list(states)))
        if subject:
            query = query.where(o.c.subject == subject)
        if before:
            query = query.where(o.c.sequence < before)
        return [_operation(row) for row in self._db.read(lambda connection: connection.execute(query).all())]

    def get(self, operation_id: str) -> Operation:
        return _operation(self._db.read(lambda connection: self.row(connection, operation_id)))

    def row(self, connection: Connection, operation_id: str) -> Any:
        o = self._operations
        row = connection.execute(o.select().where(o.c.id == operation_id)).first()
        if row is None:
            raise errors.NotFound(
                f"There is no operation {operation_id}.",
                reason="OPERATION_NOT_FOUND",
                operation_id=operation_id,
            )
        return row

    def events(self, operation_id: str) -> Sequence[Event]:
        e = self._events
        query = (
            sa.select(*(e.c[name] for name in Event.__dataclass_fields__))
            .where(e.c.operation_id == operation_id)
            .order_by(e.c.sequence)
        )
        return [Event(*row) for row in self._db.read(lambda connection: connection.execute(query).all())]

    def unpark(self, connection: Connection, row: Any, **values: Any) -> None:
        """Changes a stuck operation, if it still is as it was read."""
        o = self._operations
        changed = connection.execute(
            o.update()
            .where(o.c.id == row.id, o.c.generation == row.generation, o.c.state == row.state)
            .values(generation=o.c.generation + 1, updated_at=now(), **values)
        )
        if changed.rowcount != 1:
            raise errors.Aborted(f"The operation {row.id} was changed meanwhile.", operation_id=row.id)


def _operation(row: Any) -> Operation:
    fields = {name: getattr(row, name) for name in Operation.__dataclass_fields__}
    fields["finished_at"] = row.finished_at or 0
    # Of a stuck one, what keeps it from being undone says more than what it is undone for.
    error = (row.error or {}).get("stuck") if row.state == "stuck" else row.error
    fields["error"] = errors.from_dict(error) if error else None
    return Operation(**fields)
