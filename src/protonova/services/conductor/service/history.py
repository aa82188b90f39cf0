"""What was done to a server: its operations, as users and operators read of them. There is no second log."""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.common.v1.server_action_pb2 import ServerAction, ServerActionEvent
from protonova.common.v1.server_pb2 import Server
from protonova.conductor.v1 import server_pb2 as pb
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.clock import set_time, to_micros
from protonova.services.conductor.tables import operation_tables
from protonova.services.runtime import context, errors
from protonova.services.runtime.operations import ended
from protonova.services.runtime.operations.ended import Ended

_operations = operation_tables.operations
_events = operation_tables.events
_FAILED = ("failed", "stuck")
# Beyond this many a list goes on with another page.
_MOST = 1000


class History:
    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def page(self, request: pb.ListServerActionsRequest) -> list[ServerAction]:
        """Newest first. Raises `errors.NotFound` (SERVER_NOT_FOUND), `errors.InvalidArgument`
        (MARKER_NOT_FOUND)."""

        def read(connection: Connection) -> list[ServerAction]:
            self._cell.servers.get(connection, request.server_id, include_deleted=request.include_deleted)
            query = _of(request.server_id)
            if request.HasField("changed_since"):
                query = query.where(_operations.c.updated_at >= to_micros(request.changed_since))
            if request.HasField("changed_before"):
                query = query.where(_operations.c.updated_at <= to_micros(request.changed_before))
            if request.page_token:
                query = query.where(_operations.c.sequence < _place(connection, request))
            rows = connection.execute(query.limit(request.page_size or _MOST))
            return [_action(row) for row in rows]

        return self._cell.db.read(read)

    def get(self, request: pb.GetServerActionRequest) -> ServerAction:
        """With its events. Raises `errors.NotFound` (SERVER_NOT_FOUND, ACTION_NOT_FOUND)."""

        def read(connection: Connection) -> ServerAction:
            self._cell.servers.get(connection, request.server_id, include_deleted=request.include_deleted)
            query = _of(request.server_id).where(_operations.c.request_id == request.request_id)
            row = connection.execute(query.limit(1)).first()
            if row is None:
                raise errors.NotFound(
                    f"Server {request.server_id} knows no action of request {request.request_id}.",
                    reason="ACTION_NOT_FOUND",
                    server_id=request.server_id,
                    request_id=request.request_id,
                )
            action = _action(row)
            events = (
                sa.select(_events)
                .where(_events.c.operation_id == row.id, _events.c.event != "", _events.c.direction == "do")
                .order_by(_events.c.sequence)
            )
            action.events.extend(_event(event) for event in connection.execute(events))
            return action

        return self._cell.db.read(read)

    def note(self, connection: Connection, server: Server, action: str) -> None:
        """Enters an action that is over as soon as it is committed, such as a lock."""
        ctx = context.current()
        now = self._cell.db.now()
        ended.enter(
            connection,
            operation_tables,
            Ended(
                id=str(uuid.uuid4()),
                kind=action,
                action=action,
                subject=server.id,
                project_id=ctx.project_id,
                user_id=ctx.user_id,
                request_id=ctx.request_id,
                began_at=now,
                ended_at=now,
            ),
        )


def _of(server_id: str) -> sa.Select:
    return (
        sa.select(
            _operations.c.id,
            _operations.c.action,
            _operations.c.subject,
            _operations.c.state,
            _operations.c.request_id,
            _operations.c.user_id,
            _operations.c.project_id,
            _operations.c.created_at,
            _operations.c.updated_at,
        )
        .where(_operations.c.subject == server_id, _operations.c.action != "")
        .order_by(_operations.c.sequence.desc())
    )


def _place(connection: Connection, request: pb.ListServerActionsRequest) -> int:
    place = connection.scalar(
        sa.select(sa.func.min(_operations.c.sequence)).where(
            _operations.c.subject == request.server_id, _operations.c.request_id == request.page_token
        )
    )
    if place is None:
        raise errors.InvalidArgument(
            f"Server {request.server_id} knows no action of request {request.page_token}.",
            reason="MARKER_NOT_FOUND",
            marker=request.page_token,
        )
    return int(place)


def _action(row: Any) -> ServerAction:
    action = ServerAction(
        action=row.action,
        server_id=row.subject,
        request_id=row.request_id,
        user_id=row.user_id,
        project_id=row.project_id,
        message="Error" if row.state in _FAILED else "",
    )
    set_time(action.started_at, row.created_at)
    set_time(action.updated_at, row.updated_at)
    return action


def _event(row: Any) -> ServerActionEvent:
    event = ServerActionEvent(name=row.event, result=row.result, details=row.details, host=row.host)
    set_time(event.started_at, row.started_at)
    set_time(event.finished_at, row.finished_at)
    return event
