"""The beginning of everything that is done to a server: the check against the action table, the task state and
the operation are one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import Server, VmState
from protonova.conductor.v1.server_pb2 import ServerBuild
from protonova.services.conductor import actions
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import build as building
from protonova.services.conductor.operations import create, delete
from protonova.services.runtime import context, errors
from protonova.services.runtime.operations import Engine


class Beginnings:
    def __init__(self, cell: Cell, engine: Engine) -> None:
        self._cell = cell
        self._engine = engine
        own = cell.conf.conductor
        patience = own.network_timeout + own.volume_timeout + own.spawn_timeout
        # An operation that takes longer than all its steps may is given up.
        self._deadlines = {"create": patience * 2, "delete": own.cleanup_timeout * 2}
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
                self._operation(connection, actions.CREATE, server_id, create.payload(build), ctx)
                for server_id, build in fresh.items()
            ]
            self._cell.servers.tell(connection, *servers)
            return begun

        for operation in self._cell.db.write(begin):
            self._engine.run(operation)

    def action(
        self, action: actions.Action, server_id: str, payload: Mapping[str, Any] | None = None
    ) -> None:
        """Raises `errors.NotFound` (SERVER_NOT_FOUND) and what `actions.check` raises."""
        ctx = context.current()

        def begin(connection: Connection) -> str:
            def alter(server: Server) -> None:
                actions.check(action, server, ctx, lambda host: self._cell.host_is_up(connection, host))
                server.task_state = action.doing

            server = self._cell.servers.write(connection, server_id, alter)
            begun = self._operation(connection, action, server_id, payload or {}, ctx)
            self._cell.servers.tell(connection, server)
            return begun

        self._engine.run(self._cell.db.write(begin))

    def delete(self, server_id: str) -> None:
        """Begins a deletion; while one is under way there is nothing to begin."""
        ctx = context.current()

        def begin(connection: Connection) -> str | None:
            under_way = False

            def alter(server: Server) -> None:
                nonlocal under_way
                actions.check(actions.DELETE, server, ctx)
                under_way = server.task_state == actions.DELETE.doing
                server.task_state = actions.DELETE.doing
                server.progress = 0

            server = self._cell.servers.write(connection, server_id, alter)
            if under_way:
                return None
            payload = delete.payload(connection, server)
            begun = self._operation(connection, actions.DELETE, server_id, payload, ctx, preempt=True)
            self._cell.servers.tell(connection, server)
            return begun

        operation = self._cell.db.write(begin)
        if operation is not None:
            self._engine.run(operation)

    def _operation(
        self,
        connection: Connection,
        action: actions.Action,
        server_id: str,
        payload: Mapping[str, Any],
        ctx: context.RequestContext,
        *,
        preempt: bool = False,
    ) -> str:
        return self._engine.create(
            connection,
            action.name,
            server_id,
            dict(payload),
            action=action.name,
            context=ctx,
            deadline_seconds=self._deadlines.get(action.name, self._deadline),
            preempt=preempt,
        )

    def _taken_over(self, build: ServerBuild) -> Server:
        """The server as this cell begins with it."""
        server = Server()
        server.CopyFrom(build.server)
        for device in server.block_devices:
            device.id = device.id or str(uuid.uuid4())
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
