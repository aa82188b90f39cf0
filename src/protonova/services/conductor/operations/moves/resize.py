"""Resize and cold migration: one operation. It ends with the server on its destination and its source kept as it
was, until the move is confirmed or reverted.

    charge       (of a resize) gives back what was charged, should the move come to nothing
    schedule     a destination is chosen and claimed
    claim        server and migration change over in placement
    prepare      the destination says whether it would take the guest
    set_aside    the source switches the guest off and sets it aside
    relocate     ports and volumes go to the destination
    finish       the destination fetches what the guest has, and starts it

Where the destination is in another cell, the steps of `crossing` stand in place of `prepare` and `finish`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection

from protonova.common.v1.migration_pb2 import Migration, MigrationStatus, MigrationType
from protonova.common.v1.server_pb2 import PowerState, Server, TaskState, VmState
from protonova.compute.v1 import guest_move_pb2 as pb
from protonova.compute.v1 import guest_pb2
from protonova.services.conductor.actions import MIGRATE, RESIZE, Action, settle
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.moves import store
from protonova.services.conductor.operations import agent
from protonova.services.conductor.operations.image import DISCARD
from protonova.services.conductor.operations.moves import claims, crossing, destination, ending, guests
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Kind, Outcome, Restart, Run, Step


def action_of(migration: Migration) -> Action:
    return RESIZE if migration.type == MigrationType.MIGRATION_TYPE_RESIZE else MIGRATE


class Charge(Step):
    """The api service has charged what the new flavor has more, before the move began; a move that comes to nothing
    gives that back."""

    name = "charge"
    pure = True

    def __init__(self, cell: Cell) -> None:
        super().__init__(undo_timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return bool(run.payload["charged"])

    def do(self, run: Run) -> Outcome | None:
        return None

    def undo(self, run: Run) -> Outcome | None:
        if not destination.tries_another(self._cell, run, run.error):
            _, migration = destination.load(self._cell, run)
            claims.settle_usage(self._cell, migration, migration.old_flavor)
        return None


class Prepare(Step):
    name = "prepare"
    event = "compute_prep_resize"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.guest_timeout)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return not destination.crosses(self._cell, run)

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, migration = destination.load(cell, run)
        host = destination.chosen(run).host
        with agent.calling(host):
            agent.moves_on(cell, host).CheckGuest(
                pb.CheckGuestRequest(
                    host=host,
                    fence=agent.fence(run),
                    server=guests.as_it_will_be(run, server, migration),
                    pci_providers=destination.chosen(run).pci_providers,
                ),
                timeout=self.timeout,
            )

        def apply(connection: Connection) -> None:
            store.set_status(connection, migration.id, MigrationStatus.MIGRATION_STATUS_MIGRATING)
            cell.servers.change(connection, run.subject, _waiting(TaskState.TASK_STATE_RESIZE_MIGRATING))

        return Outcome(memory={"at": "source", "pass": guests.new_pass()}, apply=apply, host=host)


class SetAside(Step):
    name = "set_aside"
    event = "compute_resize_instance"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(
            timeout=own.guest_timeout + guests.LONGEST_SHUTDOWN, undo_timeout=own.cleanup_timeout
        )
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, migration = destination.load(cell, run)
        patience = guests.patience(cell, server)
        guests.set_aside(cell, run, server, migration.source_host, migration.id, run.memory["pass"], patience)

        def apply(connection: Connection) -> None:
            def alter(changed: Server) -> None:
                _waiting(TaskState.TASK_STATE_RESIZE_MIGRATED)(changed)
                changed.power_state = PowerState.POWER_STATE_SHUTDOWN

            store.set_status(connection, migration.id, MigrationStatus.MIGRATION_STATUS_POST_MIGRATING)
            cell.servers.change(connection, run.subject, alter)

        return Outcome(memory={"at": "destination"}, apply=apply, host=migration.source_host)

    def undo(self, run: Run) -> Outcome:
        cell = self._cell
        server, migration = destination.load(cell, run)
        return guests.put_back_or_say(
            cell, run, server, migration.source_host, migration.id, start=migration.was_running
        )


class Relocate(Step):
    name = "relocate"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.network_timeout + own.volume_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        _, migration = destination.load(self._cell, run)
        host = destination.chosen(run).host
        return guests.relocate(self._cell, run, host, TaskState.TASK_STATE_RESIZE_FINISH, migration.dest_ip)

    def undo(self, run: Run) -> Outcome:
        _, migration = destination.load(self._cell, run)
        return guests.relocate_or_say(self._cell, run, migration.source_host)


class Finish(Step):
    name = "finish"
    event = "compute_finish_resize"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.spawn_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return not destination.crosses(self._cell, run)

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, migration = destination.load(cell, run)
        chosen = destination.chosen(run)
        source = cell.host(migration.source_host)
        wanted = guests.as_it_will_be(run, server, migration)
        request = pb.ReceiveGuestRequest(
            host=chosen.host,
            fence=agent.fence(run),
            server=wanted,
            source=pb.GuestSource(
                agent_target=agent.target(source, migration.source_host),
                host=migration.source_host,
                label=migration.id,
                **{"pass": run.memory["pass"]},
            ),
            start=migration.was_running,
            pci_providers=chosen.pci_providers,
        )
        with agent.calling(chosen.host):
            stream = agent.moves_on(cell, chosen.host).ReceiveGuest(request, timeout=self.timeout)
            guest = guests.received(run, stream)

        def apply(connection: Connection) -> None:
            def alter(changed: Server) -> None:
                changed.previous_vm_state = changed.vm_state
                settle(action_of(migration), changed, vm_state=VmState.VM_STATE_RESIZED)
                _arrived(changed, wanted, guest)
                changed.host, changed.node = chosen.host, chosen.node
                changed.availability_zone = chosen.availability_zone
                changed.launched_at.CopyFrom(changed.updated_at)

            store.set_status(connection, migration.id, MigrationStatus.MIGRATION_STATUS_FINISHED)
            cell.servers.change(connection, run.subject, alter)

        return Outcome(apply=apply, host=chosen.host)

    def undo(self, run: Run) -> Outcome | None:
        if self.needed(run):
            agent.destroy(self._cell, run, destination.chosen(run).host)
        return None


class Resize(Kind):
    name = "resize"

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.steps = [
            Charge(cell),
            destination.Schedule(cell, MigrationStatus.MIGRATION_STATUS_PRE_MIGRATING),
            destination.ChangeOver(cell),
            Prepare(cell),
            crossing.Arrival(cell),
            crossing.Halt(cell),
            crossing.Record(cell, TaskState.TASK_STATE_RESIZE_MIGRATING),
            crossing.Copy(cell, TaskState.TASK_STATE_RESIZE_MIGRATING),
            crossing.Upload(cell),
            SetAside(cell),
            Relocate(cell),
            Finish(cell),
            crossing.Arrive(cell),
            crossing.Switch(cell),
        ]

    def finished(self, run: Run, connection: Connection) -> None:
        if destination.crosses(self._cell, run):
            self._discard_image(run, connection)

    def preempted(self, run: Run, connection: Connection) -> None:
        if destination.crosses(self._cell, run):
            self._discard_image(run, connection)
            self.engine.create(
                connection, crossing.ABANDON, run.payload["migration"], {"server": run.subject}
            )

    def _discard_image(self, run: Run, connection: Connection) -> None:
        """What a server was carried over as is of no use any more."""
        if kept := run.payload.get("image"):
            self.engine.create(connection, DISCARD, kept["id"], {})

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> Restart | None:
        migration = store.get(connection, run.payload["migration"])
        if destination.tries_another(self._cell, run, error):
            self._cell.servers.change(connection, run.subject, _waiting(TaskState.TASK_STATE_RESIZE_PREP))
            return destination.another(run)
        ending.stayed(
            self._cell,
            run,
            action_of(migration),
            error,
            connection,
            MigrationStatus.MIGRATION_STATUS_ERROR,
        )
        return None


def _waiting(task_state: TaskState.ValueType) -> Any:
    """The task state of a server whose move goes on; one that a delete has set stays."""

    def alter(server: Server) -> None:
        if RESIZE.owns(server.task_state):
            server.task_state = task_state

    return alter


def _arrived(changed: Server, wanted: Server, guest: guest_pb2.Guest) -> None:
    """What the server is with its new flavor and its new host."""
    changed.flavor.CopyFrom(wanted.flavor)
    changed.auto_disk_config = wanted.auto_disk_config
    changed.power_state = guest.power_state
    del changed.pci_requests[:], changed.pci_devices[:]
    changed.pci_requests.extend(wanted.pci_requests)
    changed.pci_devices.extend(guest.pci_devices)
    changed.root_device_name = guest.root_device_name or changed.root_device_name
    if guest.HasField("numa_topology"):
        changed.numa_topology.CopyFrom(guest.numa_topology)
    else:
        changed.ClearField("numa_topology")
