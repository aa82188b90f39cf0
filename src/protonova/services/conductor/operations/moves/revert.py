"""The way back from a resize. Each step but the last can be taken back, so a server that cannot go back stays where
it is and can be tried again, or confirmed.

    set_aside    the destination switches the guest off and sets it aside
    relocate     ports and volumes go to the source
    claim        the server holds its source again, the migration its destination
    put_back     the source puts the guest back and starts it, unless it was off
                 (from here on the server is back, and nothing is taken back any more)
                 (where the source is in another cell: that cell does, and is given the server: `return`)
    clean        the destination discards what it kept, and its claims are released
"""

from __future__ import annotations

import contextlib

from sqlalchemy.engine import Connection

from protonova.common.v1.migration_pb2 import Migration, MigrationStatus
from protonova.common.v1.server_pb2 import PowerState, Server, VmState
from protonova.compute.v1 import guest_pb2
from protonova.conductor.v1 import transfer_pb2
from protonova.services.conductor import transfers
from protonova.services.conductor.actions import REVERT_RESIZE, settle
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.moves import store
from protonova.services.conductor.operations.moves import (
    claims,
    crossing,
    destination,
    ending,
    guests,
    transfer,
)
from protonova.services.conductor.servers import console_tokens, past
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Kind, Outcome, Run, Step

# Why a server that was given back cannot be had again.
_DELETED = ("SERVER_NOT_FOUND", transfers.IS_DELETED)
# Ends the label under which the destination keeps what is going back.
BACK = "-back"


def back_label(migration: Migration) -> str:
    return f"{migration.id}{BACK}"


class _Step(Step):
    """Once the guest is back on its source it stays there, whatever becomes of what it left."""

    def undo(self, run: Run) -> Outcome | None:
        return None if run.memory.get("returned") else self.take_back(run)

    def take_back(self, run: Run) -> Outcome | None:
        raise NotImplementedError


class SetAside(_Step):
    name = "set_aside"
    event = "compute_revert_resize"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(
            timeout=own.guest_timeout + guests.LONGEST_SHUTDOWN, undo_timeout=own.cleanup_timeout
        )
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, migration = destination.load(cell, run)
        memory = {
            "own": claims.kept(claims.held(cell, server.id)),
            "other": claims.kept(claims.held(cell, migration.id)),
        }
        guests.set_aside(
            cell, run, server, server.host, back_label(migration), "", guests.patience(cell, server)
        )
        return Outcome(memory=memory, host=server.host)

    def take_back(self, run: Run) -> Outcome:
        cell = self._cell
        server, migration = destination.load(cell, run)
        return guests.put_back_or_say(
            cell,
            run,
            server,
            server.host,
            back_label(migration),
            start=server.power_state != PowerState.POWER_STATE_SHUTDOWN,
        )


class Relocate(_Step):
    name = "relocate"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.network_timeout + own.volume_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        _, migration = destination.load(self._cell, run)
        return guests.relocate(self._cell, run, migration.source_host, None, migration.source_ip)

    def take_back(self, run: Run) -> Outcome:
        server, _ = destination.load(self._cell, run)
        return guests.relocate_or_say(self._cell, run, server.host)


class ChangeOver(_Step):
    name = "claim"

    def __init__(self, cell: Cell) -> None:
        super().__init__(undo_timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome | None:
        self._assign(run, "other", "own")
        return None

    def take_back(self, run: Run) -> Outcome | None:
        self._assign(run, "own", "other")
        return None

    def _assign(self, run: Run, of_server: str, of_migration: str) -> None:
        server, migration = destination.load(self._cell, run)
        claims.assign(
            self._cell,
            server,
            migration.id,
            claims.recalled(run.memory[of_server]),
            claims.recalled(run.memory[of_migration]),
        )


class PutBack(_Step):
    name = "put_back"
    event = "compute_finish_revert_resize"

    def needed(self, run: Run) -> bool:
        return not run.payload.get("other_cell")

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.guest_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, migration = destination.load(cell, run)
        start = server.previous_vm_state != VmState.VM_STATE_STOPPED
        guest = guests.put_back(
            cell, run, _as_it_was(server, migration), migration.source_host, migration.id, start=start
        )

        def apply(connection: Connection) -> None:
            def alter(changed: Server) -> None:
                _returned(changed, migration, guest)
                vm_state = VmState.VM_STATE_ACTIVE if start else VmState.VM_STATE_STOPPED
                settle(REVERT_RESIZE, changed, vm_state=vm_state)
                changed.previous_vm_state = VmState.VM_STATE_UNSPECIFIED

            cell.servers.change(connection, run.subject, alter)

        return Outcome(memory={"returned": True}, apply=apply, host=migration.source_host)

    def take_back(self, run: Run) -> Outcome | None:
        cell = self._cell
        if not self.needed(run):
            return None
        server, migration = destination.load(cell, run)
        try:
            guests.set_aside(cell, run, server, migration.source_host, migration.id, "", 0)
        except errors.NotFound as error:
            if error.reason != "GUEST_NOT_FOUND":
                raise
        return None


class Return(_Step):
    """The cell the server came from puts it back, and has it again; this one keeps a record for the cleaning."""

    name = "return"
    event = "compute_finish_revert_resize"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.guest_timeout * 2, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return bool(run.payload.get("other_cell"))

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, migration = destination.load(cell, run)
        start = server.previous_vm_state != VmState.VM_STATE_STOPPED
        shown = _as_it_was(server, migration)
        request = transfer_pb2.ReturnServerRequest(
            key=transfers.key(run, self.name), migration_id=migration.id, server=shown, start=start
        )
        transfers.until_done(cell, run, migration.other_cell_id, "ReturnServer", request)
        vm_state = VmState.VM_STATE_ACTIVE if start else VmState.VM_STATE_STOPPED
        settle(REVERT_RESIZE, shown, vm_state=vm_state)
        shown.previous_vm_state = VmState.VM_STATE_UNSPECIFIED
        back = crossing.seen_from_there(cell, migration)
        back.status, back.away = MigrationStatus.MIGRATION_STATUS_REVERTED, False
        actions = cell.db.read(lambda connection: past.actions_of(connection, server.id, ending=run.id))
        transfers.ask(
            cell,
            migration.other_cell_id,
            "ShowServer",
            transfer_pb2.ShowServerRequest(server=shown, migration=back, actions=actions),
        )
        transfers.switch(cell, server.id, cell.id, migration.other_cell_id)

        def apply(connection: Connection) -> None:
            def keep(changed: Migration) -> None:
                changed.away = True

            store.change(connection, migration.id, keep)
            console_tokens.forget(connection, server.id)
            cell.servers.change(
                connection, server.id, lambda changed: crossing.hide(changed, server, migration)
            )

        return Outcome(memory={"returned": True}, apply=apply, host=migration.source_host)

    def take_back(self, run: Run) -> Outcome | None:
        if not self.needed(run):
            return None
        cell = self._cell
        server, migration = destination.load(cell, run)
        request = transfer_pb2.LeaveAgainRequest(
            key=transfers.key(run, self.name), server_id=server.id, migration_id=migration.id
        )
        try:
            transfers.switch(cell, server.id, migration.other_cell_id, cell.id)
            transfers.until_done(cell, run, migration.other_cell_id, "LeaveAgain", request)
        except errors.Error as error:
            if error.reason not in _DELETED:
                raise
            return self._let_go(run, server, migration)
        return None

    def _let_go(self, run: Run, server: Server, migration: Migration) -> Outcome:
        """It was deleted as soon as it was back, and is not fetched again: it stays where its deletion finds it, or
        has found it."""
        cell = self._cell
        with contextlib.suppress(errors.NotFound):
            transfers.switch(cell, server.id, cell.id, migration.other_cell_id)
        _clean(cell, run, server, migration)

        def apply(connection: Connection) -> None:
            def hidden(changed: Server) -> None:
                changed.away_by = migration.id

            cell.servers.tell(connection, cell.servers.write(connection, server.id, hidden, away=True))

        return Outcome(memory={"returned": True}, apply=apply)


class Clean(Step):
    name = "clean"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, migration = destination.load(cell, run)
        _clean(cell, run, server, migration)

        def apply(connection: Connection) -> None:
            if migration.other_cell_id:
                transfer.forget(cell, connection, server.id, migration.id)
                return
            store.set_status(connection, migration.id, MigrationStatus.MIGRATION_STATUS_REVERTED)

        return Outcome(apply=apply)


class RevertResize(Kind):
    name = "revertResize"

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.steps = [
            SetAside(cell),
            Relocate(cell),
            ChangeOver(cell),
            PutBack(cell),
            Return(cell),
            Clean(cell),
        ]

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> None:
        if run.memory.get("returned") and run.payload.get("other_cell"):
            transfer.forget(self._cell, connection, run.subject, run.payload["migration"])
            return
        if run.memory.get("returned"):
            store.set_status(connection, run.payload["migration"], MigrationStatus.MIGRATION_STATUS_ERROR)
            return
        reached = MigrationStatus.MIGRATION_STATUS_FINISHED
        ending.stayed(self._cell, run, REVERT_RESIZE, error, connection, reached)


def _clean(cell: Cell, run: Run, server: Server, migration: Migration) -> None:
    """Nothing of a server that went back is left where it was."""
    guests.discard(cell, run, server.id, migration.dest_host, back_label(migration))
    claims.release(cell, migration.id)
    claims.place(cell, server, [migration.source_host])
    claims.settle_usage(cell, migration, migration.old_flavor)


def _as_it_was(server: Server, migration: Migration) -> Server:
    """The server with its former flavor; where its NUMA cells lie is what its host has kept."""
    wanted = Server()
    wanted.CopyFrom(server)
    wanted.flavor.CopyFrom(migration.old_flavor)
    del wanted.pci_requests[:], wanted.pci_devices[:]
    wanted.pci_requests.extend(migration.old_pci_requests)
    wanted.ClearField("numa_topology")
    return wanted


def _returned(changed: Server, migration: Migration, guest: guest_pb2.Guest) -> None:
    changed.flavor.CopyFrom(migration.old_flavor)
    changed.host, changed.node = migration.source_host, migration.source_node
    changed.availability_zone = migration.source_availability_zone
    changed.power_state = guest.power_state
    del changed.pci_requests[:], changed.pci_devices[:]
    changed.pci_requests.extend(migration.old_pci_requests)
    changed.pci_devices.extend(guest.pci_devices)
    changed.launched_at.CopyFrom(changed.updated_at)
    changed.root_device_name = guest.root_device_name or changed.root_device_name
    if guest.HasField("numa_topology"):
        changed.numa_topology.CopyFrom(guest.numa_topology)
    else:
        changed.ClearField("numa_topology")
