"""What was done to a server, as it goes with it to another cell: its ended operations, and one about to end."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.conductor.v1.transfer_pb2 import PastAction
from protonova.services.conductor.clock import set_time, to_micros
from protonova.services.conductor.tables import operation_tables

_operations = operation_tables.operations
_events = operation_tables.events
_FAILED = ("failed", "stuck")


def actions_of(connection: Connection, server_id: str, *, ending: str) -> list[PastAction]:
    """Oldest first. `ending`: the operation that is about to succeed."""
    found = []
    rows = connection.execute(
        sa.select(_operations)
        .where(
            _operations.c.subject == server_id,
            _operations.c.action != "",
            sa.or_(_operations.c.finished_at.is_not(None), _operations.c.id == ending),
        )
        .order_by(_operations.c.sequence)
    )
    for row in rows.all():
        action = PastAction(
            id=row.id,
            kind=row.kind,
            action=row.action,
            failed=row.state in _FAILED,
            project_id=row.project_id,
            user_id=row.user_id,
            request_id=row.request_id,
        )
        set_time(action.created_at, row.created_at)
        set_time(action.updated_at, row.updated_at)
        events = (
            sa.select(_events)
            .where(_events.c.operation_id == row.id, _events.c.event != "", _events.c.direction == "do")
            .order_by(_events.c.sequence)
        )
        for each in connection.execute(events).all():
            event = action.events.add(
                step=each.step, event=each.event, host=each.host, result=each.result, details=each.details
            )
            set_time(event.started_at, each.started_at)
            set_time(event.finished_at, each.finished_at)
        found.append(action)
    return found


def enter(connection: Connection, server_id: str, actions: Sequence[PastAction]) -> None:
    """Those that are not known yet."""
    known = set(connection.scalars(sa.select(_operations.c.id).where(_operations.c.subject == server_id)))
    for action in actions:
        if action.id not in known:
            _enter(connection, server_id, action)


def forget(connection: Connection, server_id: str) -> None:
    """Those that have ended, with their events."""
    ended = sa.select(_operations.c.id).where(
        _operations.c.subject == server_id,
        _operations.c.action != "",
        _operations.c.finished_at.is_not(None),
    )
    ids = list(connection.scalars(ended))
    connection.execute(sa.delete(_events).where(_events.c.operation_id.in_(ids)))
    connection.execute(sa.delete(_operations).where(_operations.c.id.in_(ids)))


def _enter(connection: Connection, server_id: str, action: PastAction) -> None:
    updated = to_micros(action.updated_at)
    connection.execute(
        sa.insert(_operations).values(
            id=action.id,
            kind=action.kind,
            action=action.action,
            subject=server_id,
            state="failed" if action.failed else "done",
            step="",
            direction="do",
            round=0,
            attempt=1,
            generation=1,
            owner="",
            lease_until=0,
            not_before=0,
            deadline_at=0,
            preempted=False,
            payload={},
            memory={},
            context={},
            project_id=action.project_id,
            user_id=action.user_id,
            request_id=action.request_id,
            step_started_at=updated,
            created_at=to_micros(action.created_at),
            updated_at=updated,
            finished_at=updated,
        )
    )
    for event in action.events:
        connection.execute(
            sa.insert(_events).values(
                operation_id=action.id,
                step=event.step,
                event=event.event,
                direction="do",
                host=event.host,
                started_at=to_micros(event.started_at),
                finished_at=to_micros(event.finished_at),
                result=event.result,
                details=event.details,
            )
        )
