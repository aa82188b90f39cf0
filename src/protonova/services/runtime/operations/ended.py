"""Entering what was done without the engine: it is over, and only remembered as an operation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.runtime.operations.tables import DO, DONE, OperationTables

# Microseconds since the epoch, or what says them at the database.
Time = int | sa.ColumnElement[int]


@dataclass(frozen=True, slots=True)
class EndedEvent:
    """Of a step that was done."""

    step: str
    event: str
    host: str
    began_at: Time
    ended_at: Time
    result: str
    details: str


@dataclass(frozen=True, slots=True)
class Ended:
    """`action` is what users see it as."""

    id: str
    kind: str
    action: str
    subject: str
    project_id: str
    user_id: str
    request_id: str
    began_at: Time
    ended_at: Time
    state: str = DONE
    events: Sequence[EndedEvent] = ()


def enter(connection: Connection, tables: OperationTables, ended: Ended) -> None:
    connection.execute(
        tables.operations.insert().values(
            id=ended.id,
            kind=ended.kind,
            action=ended.action,
            subject=ended.subject,
            state=ended.state,
            step="",
            direction=DO,
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
            project_id=ended.project_id,
            user_id=ended.user_id,
            request_id=ended.request_id,
            step_started_at=ended.ended_at,
            created_at=ended.began_at,
            updated_at=ended.ended_at,
            finished_at=ended.ended_at,
        )
    )
    for event in ended.events:
        connection.execute(
            tables.events.insert().values(
                operation_id=ended.id,
                step=event.step,
                event=event.event,
                direction=DO,
                host=event.host,
                started_at=event.began_at,
                finished_at=event.ended_at,
                result=event.result,
                details=event.details,
            )
        )
