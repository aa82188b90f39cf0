"""The confirmation of a resize: the source discards what it kept, and its claims are released.

What is deleted softly while it waits is confirmed first, so these steps stand at the beginning of a soft deletion,
too. They are about the migration that its payload names, if any.
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from protonova.common.v1.migration_pb2 import MigrationStatus
from protonova.common.v1.server_pb2 import PowerState, Server, VmState
from protonova.services.conductor import faults, transfers
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.moves import store
from protonova.services.conductor.operations.moves import claims, destination, guests
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Kind, Outcome, Run, Step


class Discard(Step):
    name = "discard"
    event = "compute_confirm_resize"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.guest_timeout + cell.conf.service_down_time)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return bool(run.payload.get("migration"))

    def do(self, run: Run) -> Outcome:
        server, migration = destination.load(self._cell, run)
        if migration.other_cell_id:
            transfers.withdraw(self._cell, run, migration, self.name, by_force=False)
        else:
            guests.discard(self._cell, run, server.id, migration.source_host, migration.id)
        return Outcome(host=migration.source_host)


class Release(Step):
    name = "release"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return bool(run.payload.get("migration"))

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, migration = destination.load(cell, run)
        claims.release(cell, migration.id)
        claims.place(cell, server, [server.host])
        claims.settle_usage(cell, migration, migration.new_flavor)

        def apply(connection: Connection) -> None:
            store.set_status(connection, migration.id, MigrationStatus.MIGRATION_STATUS_CONFIRMED)
            cell.servers.change(connection, run.subject, _confirmed)

        return Outcome(apply=apply)


class ConfirmResize(Kind):
    name = "confirmResize"

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.steps = [Discard(cell), Release(cell)]

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> None:
        """It can be confirmed once more."""
        still_waits(run, connection)
        self._cell.servers.change(connection, run.subject, lambda server: faults.set_fault(server, error))


def still_waits(run: Run, connection: Connection) -> None:
    """A migration whose confirmation was not finished can be confirmed once more."""
    migration = store.get(connection, run.payload["migration"])
    if migration.status == MigrationStatus.MIGRATION_STATUS_CONFIRMING:
        store.set_status(connection, migration.id, MigrationStatus.MIGRATION_STATUS_FINISHED)


def _confirmed(server: Server) -> None:
    if server.vm_state != VmState.VM_STATE_RESIZED:
        return
    off = server.power_state in (PowerState.POWER_STATE_SHUTDOWN, PowerState.POWER_STATE_CRASHED)
    server.vm_state = VmState.VM_STATE_STOPPED if off else VmState.VM_STATE_ACTIVE
    server.previous_vm_state = VmState.VM_STATE_UNSPECIFIED
