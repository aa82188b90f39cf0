"""What was done to a server, as it goes with it to another cell: its ended operations, and one about to end."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.conductor.v1.transfer_pb2 import PastAction
from protonova.services.conductor.clock import set_time, to_micros
from protonova.services.conductor.tables import operation_tables
from protonova.services.runtime.operations import ended, forgetting
from protonova.services.runtime.operations.ended import Ended, EndedEvent
from protonova.services.runtime.operations.tables import DONE, FAILED, STUCK

_operations = operation_tables.operations
_events = operation_tables.events
_NOT_DONE = (FAILED, STUCK)


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
            failed=row.state in _NOT_DONE,
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
    which = sa.and_(_operations.c.subject == server_id, _operations.c.action != "")
    while forgetting.forget(connection, operation_tables, which):
        pass


def _enter(connection: Connection, server_id: str, action: PastAction) -> None:
    ended.enter(
        connection,
        operation_tables,
        Ended(
            id=action.id,
            kind=action.kind,
            action=action.action,
            subject=server_id,
            project_id=action.project_id,
            user_id=action.user_id,
            request_id=action.request_id,
            began_at=to_micros(action.created_at),
            ended_at=to_micros(action.updated_at),
            state=FAILED if action.failed else DONE,
            events=[
                EndedEvent(
                    step=event.step,
                    event=event.event,
                    host=event.host,
                    began_at=to_micros(event.started_at),
                    ended_at=to_micros(event.finished_at),
                    result=event.result,
                    details=event.details,
                )
                for event in action.events
            ],
        ),
    )
