"""The build of a server in this cell: claim (from the second host on), networking, block devices, spawning.

When a host refuses, everything is undone and the build begins anew on the next alternate. With none left the
server is in ERROR, says why, is on no host and holds nothing.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import Server, TaskState, VmState
from protonova.conductor.v1.server_pb2 import ServerBuild
from protonova.services.conductor import actions, faults
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import build as building
from protonova.services.conductor.operations.claim import Claim
from protonova.services.conductor.operations.network import Networking
from protonova.services.conductor.operations.spawn import Spawning
from protonova.services.conductor.operations.volume import BlockDeviceMapping
from protonova.services.runtime import errors
from protonova.services.runtime.operations import FAILED, Kind, Restart, Run


class Create(Kind):
    name = "create"

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.steps = [Claim(cell), Networking(cell), BlockDeviceMapping(cell), Spawning(cell)]

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> Restart | None:
        build = building.load(connection, run.subject)
        following = building.attempt(run) + 1
        # An operation that an operator gave up has failed already, and goes nowhere any more.
        given_up = run.state == FAILED
        if not given_up and faults.another_host_may_do(error) and following <= len(build.alternates):
            self._cell.servers.change(connection, run.subject, _wait_for_the_next_host)
            return Restart({"destination": following})

        def alter(server: Server) -> None:
            actions.settle(actions.CREATE, server, vm_state=VmState.VM_STATE_ERROR)
            server.host = server.node = ""
            message = f"No valid host was found. {error}" if faults.another_host_may_do(error) else str(error)
            faults.set_fault(server, error, message)

        building.forget(connection, run.subject)
        self._cell.servers.change(connection, run.subject, alter)
        return None


def _wait_for_the_next_host(server: Server) -> None:
    if actions.CREATE.owns(server.task_state):
        server.task_state = TaskState.TASK_STATE_SCHEDULING


def payload(build: ServerBuild) -> dict[str, Any]:
    """What tells which steps are needed."""
    return {"ports": building.needs_ports(build), "volumes": building.needs_volumes(build.server)}
