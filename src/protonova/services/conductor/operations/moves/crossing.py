"""The steps of a resize or cold migration whose destination is in another cell. They stand beside those of a move
within the cell, and are needed where the host that was chosen is elsewhere.

    arrival      the other cell keeps a record of the server, and its host says whether it would take the guest
    halt         the guest is switched off, so that its disk is at rest
    image…       a root disk on the host becomes an image
    set_aside    as within the cell
    relocate     as within the cell
    arrive       the other cell's host makes the guest of the image, or of its volumes
    switch       the server is in the other cell, for everybody; this cell keeps its record for the way back
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from protonova.common.v1.migration_pb2 import Migration, MigrationStatus
from protonova.common.v1.server_pb2 import ImageSnapshot, Server, TaskState, VmState
from protonova.compute.v1 import guest_pb2
from protonova.conductor.v1 import transfer_pb2 as pb
from protonova.services.conductor import transfers
from protonova.services.conductor.actions import MIGRATE, RESIZE, settle
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.moves import store
from protonova.services.conductor.operations import agent, image
from protonova.services.conductor.operations.moves import destination, guests
from protonova.services.conductor.servers import console_tokens, past
from protonova.services.conductor.states import IDLE
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Kind, Outcome, Run, Step

ABANDON = "abandon_arrival"
_MIGRATING = TaskState.TASK_STATE_RESIZE_MIGRATING


class Arrival(Step):
    name = "arrival"
    event = "compute_prep_resize"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.guest_timeout * 2, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return destination.crosses(self._cell, run)

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, migration = destination.load(cell, run)
        request = pb.PrepareArrivalRequest(
            key=transfers.key(run, self.name),
            server=guests.as_it_will_be(run, server, migration),
            migration=seen_from_there(cell, migration),
            destination=destination.chosen(run),
        )
        answer = transfers.until_done(cell, run, migration.other_cell_id, "PrepareArrival", request)

        def apply(connection: Connection) -> None:
            def alter(changed: Migration) -> None:
                changed.status = MigrationStatus.MIGRATION_STATUS_MIGRATING
                changed.dest_ip = answer.host_ip

            def wait(changed: Server) -> None:
                if RESIZE.owns(changed.task_state):
                    changed.task_state = _MIGRATING

            store.change(connection, migration.id, alter)
            cell.servers.change(connection, run.subject, wait)

        return Outcome(memory={"at": "source", "pass": ""}, apply=apply, host=migration.dest_host)

    def undo(self, run: Run) -> Outcome | None:
        if self.needed(run):
            _, migration = destination.load(self._cell, run)
            transfers.withdraw(self._cell, run, migration, self.name)
        return None


class Halt(Step):
    """Taken back by starting the guest, if it was running and is there."""

    name = "halt"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(
            timeout=own.guest_timeout + guests.LONGEST_SHUTDOWN, undo_timeout=own.cleanup_timeout
        )
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return destination.crosses(self._cell, run)

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, migration = destination.load(cell, run)
        host, seconds = migration.source_host, guests.patience(cell, server)
        with agent.calling(host):
            agent.guests_on(cell, cell.host(host), host).StopGuest(
                guest_pb2.StopGuestRequest(
                    host=host, fence=agent.fence(run), server_id=server.id, timeout_seconds=seconds
                ),
                timeout=cell.conf.conductor.guest_timeout + seconds,
            )
        return Outcome(host=host)

    def undo(self, run: Run) -> Outcome | None:
        cell = self._cell
        _, migration = destination.load(cell, run)
        if not self.needed(run) or not migration.was_running or "lost" in run.memory:
            return None
        host = migration.source_host
        with agent.putting_back(run.subject), agent.calling(host):
            agent.guests_on(cell, cell.host(host), host).StartGuest(
                guest_pb2.StartGuestRequest(host=host, fence=agent.fence(run), server_id=run.subject),
                timeout=cell.conf.conductor.guest_timeout,
            )
        return None


class Record(image.Record):
    def needed(self, run: Run) -> bool:
        return super().needed(run) and destination.crosses(self._cell, run)


class Copy(image.Copy):
    def needed(self, run: Run) -> bool:
        return super().needed(run) and destination.crosses(self._cell, run)


class Upload(image.Upload):
    def needed(self, run: Run) -> bool:
        return super().needed(run) and destination.crosses(self._cell, run)


class Arrive(Step):
    name = "arrive"
    event = "compute_finish_resize"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.spawn_timeout + own.guest_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return destination.crosses(self._cell, run)

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, migration = destination.load(cell, run)
        request = pb.ReceiveServerRequest(
            key=transfers.key(run, self.name),
            migration_id=migration.id,
            server=guests.as_it_will_be(run, server, migration),
            destination=destination.chosen(run),
            start=migration.was_running,
        )
        if kept := run.payload.get("image"):
            request.image.CopyFrom(_image(cell, server, kept["id"]))
        transfers.until_done(cell, run, migration.other_cell_id, "ReceiveServer", request)
        return Outcome(host=migration.dest_host)

    def undo(self, run: Run) -> Outcome | None:
        if self.needed(run):
            _, migration = destination.load(self._cell, run)
            transfers.withdraw(self._cell, run, migration, self.name)
        return None


class Switch(Step):
    """The other cell shows the server first, then everybody is sent there, then this cell shows it no more: at no
    moment is it in neither."""

    name = "switch"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.cleanup_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return destination.crosses(self._cell, run)

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, migration = destination.load(cell, run)
        action = RESIZE if migration.old_flavor.id != migration.new_flavor.id else MIGRATE
        shown = guests.as_it_will_be(run, server, migration)
        shown.previous_vm_state = server.vm_state
        settle(action, shown, vm_state=VmState.VM_STATE_RESIZED)
        arrived = seen_from_there(cell, migration)
        arrived.status, arrived.away = MigrationStatus.MIGRATION_STATUS_FINISHED, False
        actions = cell.db.read(lambda connection: past.actions_of(connection, server.id, ending=run.id))
        request = pb.ShowServerRequest(server=shown, migration=arrived, actions=actions)
        transfers.ask(cell, migration.other_cell_id, "ShowServer", request)
        transfers.switch(cell, server.id, cell.id, migration.other_cell_id)

        def apply(connection: Connection) -> None:
            def keep(changed: Migration) -> None:
                changed.status, changed.away = MigrationStatus.MIGRATION_STATUS_FINISHED, True

            store.change(connection, migration.id, keep)
            console_tokens.forget(connection, server.id)
            cell.servers.change(connection, server.id, lambda changed: hide(changed, server, migration))

        return Outcome(apply=apply)

    def undo(self, run: Run) -> Outcome | None:
        if self.needed(run):
            _, migration = destination.load(self._cell, run)
            transfers.take_back(self._cell, run, migration, self.name)
        return None


class Abandon(Step):
    """What gave way while it was on its way to another cell: that cell keeps nothing of it."""

    name = "abandon"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome | None:
        cell = self._cell
        try:
            server, migration = cell.db.read(
                lambda c: (cell.servers.get(c, run.payload["server"]), store.get(c, run.subject))
            )
        except errors.NotFound:
            # A deletion has seen to it, or the server has arrived.
            return None
        if not server.away_by and migration.other_cell_id:
            transfers.take_back(cell, run, migration, self.name)
        return None


class AbandonArrival(Kind):
    """Its subject is the migration: it goes on whatever becomes of the server."""

    name = ABANDON

    def __init__(self, cell: Cell) -> None:
        self.deadline_seconds = cell.conf.conductor.cleanup_timeout
        self.steps = [Abandon(cell)]


def seen_from_there(cell: Cell, migration: Migration) -> Migration:
    """A migration as the cell of its other end keeps it; it is not the server's before that is shown."""
    there = Migration()
    there.CopyFrom(migration)
    there.cell_id, there.other_cell_id, there.away = migration.other_cell_id, cell.id, True
    return there


def hide(changed: Server, told: Server, migration: Migration) -> None:
    """The record is kept, and shown to nobody; what the other cell was `told` of it must be what it says still."""
    if changed.generation != told.generation:
        raise errors.Aborted("The server was changed meanwhile.", reason="CONCURRENT_UPDATE")
    changed.away_by, changed.task_state = migration.id, IDLE


def _image(cell: Cell, server: Server, image_id: str) -> ImageSnapshot:
    """What the guest is made of: the bytes of one image, with what the other one's owner said of it."""
    kept = cell.outside.images.get(image_id)
    return ImageSnapshot(
        id=kept.id,
        name=kept.name,
        disk_format=kept.disk_format,
        container_format=kept.container_format,
        size_bytes=kept.size,
        checksum=kept.checksum,
        hash_algorithm=kept.hash_algorithm,
        hash_value=kept.hash_value,
        properties=server.image.properties,
    )
