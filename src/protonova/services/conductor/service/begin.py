"""The beginning of everything that is done to a server: the check against the action table, the task state and
the operation are one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.common.v1.migration_pb2 import MigrationStatus
from protonova.common.v1.server_pb2 import Server, VmState
from protonova.conductor.v1.server_pb2 import ServerBuild
from protonova.services.conductor import actions
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.clock import to_micros
from protonova.services.conductor.moves import store as moves
from protonova.services.conductor.moves.status import ARRIVED, UNDER_WAY
from protonova.services.conductor.operations import build as building
from protonova.services.conductor.operations import create, delete
from protonova.services.conductor.servers import device_names, reclaim
from protonova.services.conductor.states import IDLE
from protonova.services.conductor.tables import operation_tables
from protonova.services.runtime import context, errors
from protonova.services.runtime.operations import DONE, PENDING, RUNNING, Engine

_operations = operation_tables.operations


class _RepeatError(Exception):
    """The request was heard before, and began this."""

    def __init__(self, operation_id: str) -> None:
        super().__init__(operation_id)
        self.operation_id = operation_id


class Beginnings:
    def __init__(self, cell: Cell, engine: Engine) -> None:
        self._cell = cell
        self._engine = engine
        own = cell.conf.conductor
        patience = own.network_timeout + own.volume_timeout + own.spawn_timeout
        # An operation that takes longer than all its steps may is given up.
        self._deadlines = {
            "create": float(cell.conf.instance_build_timeout) or patience * 2,
            "delete": own.cleanup_timeout * 2,
            "swap_volume": own.volume_swap_timeout * 2 + own.volume_timeout * 2,
            "merge_volume": own.volume_swap_timeout * 2 + own.volume_timeout * 2,
            "resize": (patience + own.schedule_timeout) * 2 + 3600,
            "confirmResize": own.cleanup_timeout * 2,
            "revertResize": patience * 2 + 3600 + own.cleanup_timeout,
            "live-migration": own.live_migration_timeout * 2 + own.cleanup_timeout,
            "evacuate": (patience + own.schedule_timeout) * 2,
        }
        self._deadline = own.guest_timeout * 2 + 3600

    def create(self, builds: Sequence[ServerBuild]) -> None:
        """Takes servers over and begins to build them; those already known are passed over."""
        ctx = context.current()
        for build in builds:
            _check(build)

        def begin(connection: Connection) -> list[str]:
            known = self._cell.servers.existing(connection, [build.server.id for build in builds])
            fresh = {build.server.id: build for build in builds if build.server.id not in known}
            if not fresh:
                return []
            servers = [self._taken_over(build) for build in fresh.values()]
            self._cell.servers.insert(connection, servers)
            building.keep(connection, list(fresh.values()))
            begun = [
                self.operation(connection, actions.CREATE, server_id, create.payload(build), ctx)
                for server_id, build in fresh.items()
            ]
            self._cell.servers.tell(connection, *servers)
            return begun

        for operation in self._cell.db.write(begin):
            self._engine.run(operation)

    def action(
        self,
        action: actions.Action,
        server_id: str,
        payload: Mapping[str, Any] | Callable[[Connection, Server], Mapping[str, Any]] | None = None,
        alter: Callable[[Server], Mapping[str, Any] | None] = lambda _: None,
        *,
        kept: ServerBuild | None = None,
    ) -> str:
        """Returns the operation's id; `kept` is what its steps must know and its payload must not show. `alter`
        sees the server once the table allows the action: it may refuse, change it, and say what the payload is. A
        payload that is a function is asked for after that, in the transaction; it may write, and refuse as well.
        A call that was sent again, for its answer was lost with a connection, begins nothing.
        Raises `errors.NotFound` (SERVER_NOT_FOUND) and what `actions.check` raises."""
        ctx = context.current()

        def begin(connection: Connection) -> str:
            found: Mapping[str, Any] | None = None

            def change(server: Server) -> None:
                nonlocal found
                self._pass_over_repeat(connection, action, server_id, payload, ctx)
                actions.check(action, server, ctx, lambda host: self._cell.host_is_up(connection, host))
                if action.doing != IDLE:
                    server.task_state = action.doing
                found = alter(server)

            server = self._cell.servers.write(connection, server_id, change)
            given = payload(connection, server) if callable(payload) else payload
            if kept is not None:
                building.keep_for_action(connection, server_id, kept)
            begun = self.operation(connection, action, server_id, found or given or {}, ctx)
            self._cell.servers.tell(connection, server)
            return begun

        try:
            operation = self._cell.db.write(begin)
        except _RepeatError as known:
            return known.operation_id
        self._engine.run(operation)
        return operation

    def turned_back(self, operation_id: str) -> bool:
        """Whether an operation will not succeed any more."""
        return self._engine.get(operation_id).state not in (PENDING, RUNNING, DONE)

    def wait(self, operation_id: str, seconds: float) -> None:
        """For the callers that want to know how it ends: raises what an operation failed with. One that takes
        longer than that goes on."""
        error = self._engine.wait(operation_id, seconds).error
        if error is not None:
            raise error

    def delete(self, server_id: str, *, force: bool = False) -> None:
        """Begins a deletion, a soft one where the operator wants that unless `force`; while one is under way, or a
        soft one is done, there is nothing to begin."""
        ctx = context.current()
        softly = self._cell.conf.reclaim_instance_interval > 0 and not force

        def begin(connection: Connection) -> str | None:
            action: actions.Action | None = actions.DELETE
            # What is on its way is not kept on two hosts for later, and what is on none cannot be; a move that has
            # arrived can be confirmed.
            under_way = moves.with_status(connection, server_id, UNDER_WAY) if softly else []
            arrived = next((each for each in under_way if each.status in ARRIVED), None)
            moving = len(under_way) > (1 if arrived else 0)

            def alter(server: Server) -> None:
                nonlocal action
                action = actions.DELETE
                if softly and not moving and server.host and server.HasField("launched_at"):
                    action = actions.SOFT_DELETE
                actions.check(action, server, ctx)
                begun = server.task_state in (actions.DELETE.doing, action.doing)
                if begun or (softly and server.vm_state == VmState.VM_STATE_SOFT_DELETED):
                    action = None
                    return
                server.task_state = action.doing
                server.progress = 0

            server = self._cell.servers.write(connection, server_id, alter)
            if action is None:
                return None
            payload = delete.payload(connection, server) if action is actions.DELETE else {}
            if action is actions.SOFT_DELETE and arrived is not None:
                moves.set_status(connection, arrived.id, MigrationStatus.MIGRATION_STATUS_CONFIRMING)
                payload = {"migration": arrived.id}
            begun = self.operation(connection, action, server_id, payload, ctx, preempt=True)
            self._cell.servers.tell(connection, server)
            return begun

        operation = self._cell.db.write(begin)
        if operation is not None:
            self._engine.run(operation)

    def reclaim(self, server_id: str) -> bool:
        """Begins to delete a server if the time since its soft deletion is over; says whether it did."""
        interval = int(self._cell.conf.reclaim_instance_interval)
        ctx = context.internal("conductor")

        def begin(connection: Connection) -> str | None:
            due = False

            def alter(server: Server) -> None:
                nonlocal due
                # `updated_at` is now.
                due = reclaim.is_due(server, to_micros(server.updated_at), interval)
                if due:
                    server.task_state = actions.DELETE.doing

            server = self._cell.servers.write(connection, server_id, alter)
            if not due:
                return None
            payload = delete.payload(connection, server)
            begun = self.operation(connection, actions.DELETE, server_id, payload, ctx, preempt=True)
            self._cell.servers.tell(connection, server)
            return begun

        operation = self._cell.db.write(begin)
        if operation is not None:
            self._engine.run(operation)
        return operation is not None

    def reset_state(self, server_id: str, state: VmState.ValueType) -> None:
        """Says what a server is, at once; whatever is done to it gives way."""
        ctx = context.current()

        def begin(connection: Connection) -> str:
            softly = False

            def alter(server: Server) -> None:
                nonlocal softly
                actions.check(actions.RESET_STATE, server, ctx)
                softly = server.HasField("soft_deleted_at") or actions.SOFT_DELETE.owns(server.task_state)
                server.vm_state = state
                server.task_state = actions.RESET_STATE.doing
                server.progress = 0
                server.ClearField("soft_deleted_at")

            server = self._cell.servers.write(connection, server_id, alter)
            payload = {"launched": server.HasField("launched_at"), "soft_deleted": softly}
            begun = self.operation(connection, actions.RESET_STATE, server_id, payload, ctx, preempt=True)
            self._cell.servers.tell(connection, server)
            return begun

        self._engine.run(self._cell.db.write(begin))

    def _pass_over_repeat(
        self,
        connection: Connection,
        action: actions.Action,
        server_id: str,
        payload: object,
        ctx: context.RequestContext,
    ) -> None:
        """Raises `_RepeatError` where the request has begun this before. Users see one action of a name for a
        request of theirs; what they do not see may be begun several times by one."""
        if not ctx.request_id or not action.name:
            return
        begun = connection.execute(
            sa.select(_operations.c.id, _operations.c.payload).where(
                _operations.c.subject == server_id,
                _operations.c.kind == action.operation,
                _operations.c.action == action.name,
                _operations.c.request_id == ctx.request_id,
            )
        )
        given = payload if isinstance(payload, Mapping) else {}
        for row in begun:
            # Secrets are gone from the payload of what is over.
            if all(row.payload.get(name, value) == value for name, value in given.items()):
                raise _RepeatError(row.id)

    def operation(
        self,
        connection: Connection,
        action: actions.Action,
        server_id: str,
        payload: Mapping[str, Any],
        ctx: context.RequestContext,
        *,
        preempt: bool = False,
    ) -> str:
        """Writes the operation of an action in the caller's transaction, as `Engine.create` does."""
        return self._engine.create(
            connection,
            action.operation,
            server_id,
            dict(payload),
            action=action.name,
            context=ctx,
            deadline_seconds=self._deadlines.get(action.operation, self._deadline),
            preempt=preempt,
        )

    def _taken_over(self, build: ServerBuild) -> Server:
        """The server as this cell begins with it."""
        server = Server()
        server.CopyFrom(build.server)
        for device in server.block_devices:
            device.id = device.id or str(uuid.uuid4())
        device_names.name_all(server)
        tags = sorted(set(server.tags))
        del server.tags[:]
        server.tags.extend(tags)
        server.generation = 0
        server.cell_id = self._cell.id
        server.host = build.destination.host
        server.node = build.destination.node
        server.availability_zone = build.destination.availability_zone
        server.vm_state = VmState.VM_STATE_BUILDING
        server.task_state = building.task_state_before("networking", build, server)
        server.ClearField("host_status")
        return server


def _check(build: ServerBuild) -> None:
    if not build.server.id or not build.server.project_id:
        raise errors.InvalidArgument(
            "A server to be built has an id and a project.", reason="BUILD_INVALID", server_id=build.server.id
        )
    if not build.destination.host:
        raise errors.InvalidArgument(
            f"Server {build.server.id} was given no host.", reason="BUILD_INVALID", server_id=build.server.id
        )
