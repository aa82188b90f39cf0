"""How a move ends that did not succeed: what server and migration say then."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from protonova.common.v1.migration_pb2 import MigrationStatus
from protonova.common.v1.server_pb2 import Server, VmState
from protonova.services.conductor import faults
from protonova.services.conductor.actions import Action, settle
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.moves import store
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Run


def stayed(
    cell: Cell,
    run: Run,
    action: Action,
    error: errors.Error,
    connection: Connection,
    reached: MigrationStatus.ValueType,
) -> None:
    """The server is where it was and what it was; where that could not be brought about, it is in ERROR and its
    fault says what to do."""
    lost = run.memory.get("lost", "")

    def change(server: Server) -> None:
        settle(action, server, vm_state=VmState.VM_STATE_ERROR if lost else None)
        server.progress = 0
        faults.set_fault(server, error, f"{error} {lost}".strip())

    store.set_status(connection, run.payload["migration"], reached)
    cell.servers.change(connection, run.subject, change)
