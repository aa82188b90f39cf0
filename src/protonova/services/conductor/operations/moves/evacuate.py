"""Evacuation: a server of a dead host is built anew on another one.

    schedule     a destination is chosen and claimed
    claim        server and migration change over in placement
    prepare      the destination says whether it would take the guest, with the disks it is said to find
    relocate     ports and volumes go to the destination
    spawn        the destination makes the guest: from its disks where both hosts share them, else from its image
    rest         a server that was stopped, or that is to be, is stopped

The dead host may come back with the guest it had. So the migration goes on holding what the server held there, and
is `done`; when the host's agent has removed what is left it is `completed` and holds nothing.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection

from protonova.common.v1.migration_pb2 import Migration, MigrationStatus
from protonova.common.v1.server_pb2 import PowerState, Server, TaskState, VmState
from protonova.compute.v1 import guest_move_pb2 as pb
from protonova.compute.v1 import guest_pb2
from protonova.services.conductor.actions import EVACUATE, settle
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.moves import store
from protonova.services.conductor.operations import agent
from protonova.services.conductor.operations import build as building
from protonova.services.conductor.operations.moves import claims, destination, ending, guests, relocation
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Kind, Outcome, Restart, Run, Step


class Prepare(Step):
    name = "prepare"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.guest_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, migration = destination.load(cell, run)
        if server.host != migration.source_host:
            # What was under way when the evacuation was asked for has brought it elsewhere.
            raise errors.FailedPrecondition(
                f"Server {server.id} has left host {migration.source_host}.", reason="SERVER_MOVED"
            )
        host = destination.chosen(run).host
        request = pb.CheckGuestRequest(
            host=host,
            fence=agent.fence(run),
            server=_wanted(run, server),
            pci_providers=destination.chosen(run).pci_providers,
        )
        if run.payload["shared"] is not None:
            request.disks_are_there = run.payload["shared"]
        with agent.calling(host):
            agent.moves_on(cell, host).CheckGuest(request, timeout=self.timeout)

        def apply(connection: Connection) -> None:
            following = TaskState.TASK_STATE_REBUILD_BLOCK_DEVICE_MAPPING
            cell.servers.change(connection, run.subject, _waiting(following))

        return Outcome(apply=apply, host=host)


class Relocate(Step):
    name = "relocate"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.network_timeout + own.volume_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server = cell.db.read(lambda c: cell.servers.get(c, run.subject))
        host = destination.chosen(run).host
        interfaces = relocation.bind_ports(cell, server, host)
        devices = relocation.attach(cell, run, server, host)
        relocation.detach_others(cell, server.id, devices)

        def apply(connection: Connection) -> None:
            def alter(changed: Server) -> None:
                relocation.enter(changed, interfaces, devices)
                _waiting(TaskState.TASK_STATE_REBUILD_SPAWNING)(changed)

            cell.servers.change(connection, run.subject, alter)

        return Outcome(apply=apply, host=host)

    def undo(self, run: Run) -> Outcome:
        if run.memory.get("moved"):
            return Outcome()
        _, migration = destination.load(self._cell, run)
        return guests.relocate_or_say(self._cell, run, migration.source_host)


class Spawn(Step):
    name = "spawn"
    event = "compute_rebuild_instance"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.spawn_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, migration = destination.load(cell, run)
        build = cell.db.read(lambda c: building.find(c, run.subject))
        chosen = destination.chosen(run)
        request = guest_pb2.SpawnGuestRequest(
            host=chosen.host,
            fence=agent.fence(run),
            server=_wanted(run, server),
            admin_password=build.admin_password if build else "",
            pci_providers=chosen.pci_providers,
        )
        with agent.calling(chosen.host):
            host = cell.host(chosen.host)
            stream = agent.guests_on(cell, host, chosen.host).SpawnGuest(request, timeout=self.timeout)
            guest = guests.received(run, stream)

        def apply(connection: Connection) -> None:
            def alter(changed: Server) -> None:
                changed.host, changed.node = chosen.host, chosen.node
                changed.availability_zone = chosen.availability_zone
                changed.launched_at.CopyFrom(changed.updated_at)
                changed.power_state = guest.power_state
                changed.root_device_name = guest.root_device_name or changed.root_device_name
                if guest.HasField("numa_topology"):
                    changed.numa_topology.CopyFrom(guest.numa_topology)
                del changed.pci_devices[:]
                changed.pci_devices.extend(guest.pci_devices)
                if not run.payload["stop"]:
                    settle(EVACUATE, changed, vm_state=VmState.VM_STATE_ACTIVE)

            building.forget(connection, run.subject)
            store.set_status(connection, migration.id, MigrationStatus.MIGRATION_STATUS_DONE)
            cell.servers.change(connection, run.subject, alter)

        return Outcome(memory={"moved": True}, apply=apply, host=chosen.host)

    def undo(self, run: Run) -> Outcome | None:
        if not run.memory.get("moved"):
            agent.destroy(self._cell, run, destination.chosen(run).host)
        return None


class Rest(Step):
    """The server is on its destination already; its place in its group is that host alone."""

    name = "rest"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, _ = destination.load(cell, run)
        claims.place(cell, server, [server.host])
        if not run.payload["stop"]:
            return Outcome(host=server.host)
        with agent.calling(server.host):
            guest = (
                agent.guests_on(cell, cell.host(server.host), server.host)
                .StopGuest(
                    guest_pb2.StopGuestRequest(host=server.host, fence=agent.fence(run), server_id=server.id),
                    timeout=cell.conf.conductor.guest_timeout,
                )
                .guest
            )

        def apply(connection: Connection) -> None:
            def alter(changed: Server) -> None:
                settle(EVACUATE, changed, vm_state=VmState.VM_STATE_STOPPED, power_state=guest.power_state)

            cell.servers.change(connection, run.subject, alter)

        return Outcome(apply=apply, host=server.host)


class Schedule(destination.Schedule):
    """What was done for a server that is there stays done."""

    def undo(self, run: Run) -> Outcome:
        return Outcome() if run.memory.get("moved") else super().undo(run)


class ChangeOver(destination.ChangeOver):
    def undo(self, run: Run) -> Outcome | None:
        return None if run.memory.get("moved") else super().undo(run)


class Evacuate(Kind):
    name = "evacuate"

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.steps = [
            Schedule(cell, MigrationStatus.MIGRATION_STATUS_PRE_MIGRATING),
            ChangeOver(cell),
            Prepare(cell),
            Relocate(cell),
            Spawn(cell),
            Rest(cell),
        ]

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> Restart | None:
        if run.memory.get("moved"):
            # It is there and runs, but could not be stopped.
            def settled(server: Server) -> None:
                off = server.power_state == PowerState.POWER_STATE_SHUTDOWN
                vm_state = VmState.VM_STATE_STOPPED if off else VmState.VM_STATE_ACTIVE
                settle(EVACUATE, server, vm_state=vm_state)

            self._cell.servers.change(connection, run.subject, settled)
            return None
        if destination.tries_another(self._cell, run, error):
            self._cell.servers.change(connection, run.subject, _waiting(TaskState.TASK_STATE_REBUILDING))
            return destination.another(run)
        building.forget(connection, run.subject)
        reached = MigrationStatus.MIGRATION_STATUS_ERROR
        ending.stayed(self._cell, run, EVACUATE, error, connection, reached)
        return None


def complete(cell: Cell, migration: Migration) -> None:
    """Nothing is left of a guest on the host it was evacuated from. Repeatable."""
    claims.release(cell, migration.id)

    def write(connection: Connection) -> None:
        if store.get(connection, migration.id).status == MigrationStatus.MIGRATION_STATUS_DONE:
            store.set_status(connection, migration.id, MigrationStatus.MIGRATION_STATUS_COMPLETED)

    cell.db.write(write)


def _wanted(run: Run, server: Server) -> Server:
    """The server with the NUMA cells it asked for, to be fitted anew."""
    wanted, spec = Server(), destination.spec_of(run)
    wanted.CopyFrom(server)
    wanted.ClearField("numa_topology")
    del wanted.pci_devices[:]
    if spec.HasField("numa_topology"):
        wanted.numa_topology.CopyFrom(spec.numa_topology)
    return wanted


def _waiting(task_state: TaskState.ValueType) -> Any:
    def alter(server: Server) -> None:
        if EVACUATE.owns(server.task_state):
            server.task_state = task_state

    return alter
