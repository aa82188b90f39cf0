"""What becomes of servers because of what their guests were seen to be, without anybody's asking.

What is seen and what is begun because of it are one transaction: nothing is forgotten, and nothing begun twice.
"""

from __future__ import annotations

import logging

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import PowerState, Server, VmState
from protonova.services.conductor import actions
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.hosts.guests import MISMATCHES
from protonova.services.conductor.operations import soft_delete
from protonova.services.conductor.service.begin import Beginnings
from protonova.services.conductor.states import IDLE, power_state_name, vm_state_name
from protonova.services.runtime import context, errors
from protonova.services.runtime.operations import Engine

_log = logging.getLogger("protonova.conductor.guests")
_NO_GUEST = PowerState.POWER_STATE_UNSPECIFIED


class Following:
    def __init__(self, cell: Cell, engine: Engine, beginnings: Beginnings) -> None:
        self._cell = cell
        self._engine = engine
        self._begin = beginnings

    def follow(self, server_id: str, generation: int, seen: PowerState.ValueType) -> bool:
        """A server says what its guest was seen to be, and is stopped where the two may not differ. False when it
        has been changed since that generation."""
        still, wrong = False, False

        def alter(server: Server) -> None:
            nonlocal still, wrong
            still = server.generation == generation
            if not still or server.task_state != IDLE:
                return
            server.power_state = seen
            wrong = seen in MISMATCHES.get(server.vm_state, ())
            if wrong:
                server.task_state = actions.STOP.doing

        def change(connection: Connection) -> tuple[Server, str] | None:
            try:
                server = self._cell.servers.write(connection, server_id, alter)
            except errors.NotFound:
                return None
            begun = self._stop(connection, server) if wrong else ""
            self._cell.servers.tell(connection, server)
            return server, begun

        changed = self._cell.db.write(change)
        if changed is None:
            return True  # it is gone meanwhile
        server, operation = changed
        if still:
            _log.log(
                logging.WARNING if wrong or server.vm_state == VmState.VM_STATE_ACTIVE else logging.INFO,
                "The guest of server %s on %s, which is %s, is %s%s",
                server_id,
                server.host,
                vm_state_name(server.vm_state),
                "missing" if seen == _NO_GUEST else power_state_name(seen),
                "; it is stopped" if wrong else "",
            )
        if operation:
            self._engine.run(operation)
        return still

    def keep_off(self, server_id: str) -> None:
        """Begins to switch off the guest of a softly deleted server; of another one nothing is begun."""

        def begin(connection: Connection) -> str | None:
            softly = False

            def look(server: Server) -> None:
                nonlocal softly
                softly = server.vm_state == VmState.VM_STATE_SOFT_DELETED and server.task_state == IDLE

            # Nothing is altered; the row is held, so that the operation gets its place in the server's line.
            self._cell.servers.write(connection, server_id, look)
            if not softly:
                return None
            return self._engine.create(connection, soft_delete.KEEP_OFF, server_id, {})

        try:
            operation = self._cell.db.write(begin)
        except errors.NotFound:
            return  # it is gone meanwhile
        if operation is not None:
            self._engine.run(operation)

    def _stop(self, connection: Connection, server: Server) -> str:
        # Whatever the guest is by then, as long as it is nothing that the server may be.
        wrong = sorted(MISMATCHES[server.vm_state])
        ctx = context.internal("conductor")
        return self._begin.operation(connection, actions.STOP, server.id, {"only_in": wrong}, ctx)
