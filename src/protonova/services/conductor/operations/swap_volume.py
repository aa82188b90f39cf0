"""Swapping a volume for another one, for a volume service that moves it: what is on it is copied while the guest
runs, and the new one takes its place under the same name. It takes its id, too: the volume service gives that to
what goes on, and the guest must know the disk by the id by which it will be detached."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import BlockDevice, Server
from protonova.services.conductor import faults
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import volume
from protonova.services.conductor.operations.attach_volume import change, device_of, release, reserve
from protonova.services.conductor.operations.plugging import Plugging
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Kind, Outcome, Run, Step


class Reserve(Step):
    name = "reserve"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.volume_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        attachment = reserve(self._cell, run.subject, run.payload["new_volume"])
        return Outcome(memory={"attachment": attachment})

    def undo(self, run: Run) -> None:
        """The volume service learns that the volume stays where it is."""
        volumes, payload = self._cell.outside.volumes, run.payload
        release(self._cell, run.subject, payload["new_volume"])
        if _is_moving(self._cell, payload["volume"]):
            volumes.complete_migration(payload["volume"], payload["new_volume"], failed=True)


class Copy(Step):
    name = "copy"
    event = "compute_swap_volume"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.volume_swap_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server = cell.db.read(lambda c: cell.servers.get(c, run.subject))
        new = BlockDevice()
        new.CopyFrom(device_of(server, run))
        new.attachment_id = run.memory["attachment"]
        connector = volume.connector_of(cell, server.host)
        volume.set_connection(new, cell.outside.volumes.connect_attachment(new.attachment_id, connector))
        Plugging(cell, run, server.host, self.timeout).swap_volume(run.payload["volume"], new)
        return Outcome(host=server.host)

    def undo(self, run: Run) -> None:
        server = self._cell.db.read(lambda c: self._cell.servers.get(c, run.subject))
        plugging = Plugging(self._cell, run, server.host, self.timeout)
        if plugging.untouched:
            return
        try:
            plugging.swap_volume(run.payload["volume"], device_of(server, run))
        except errors.Error as error:
            # The guest never had the new one.
            if error.reason not in ("DEVICE_NOT_FOUND", "GUEST_NOT_FOUND"):
                raise


class Finish(Step):
    name = "finish"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.volume_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell, payload = self._cell, run.payload
        volumes, attachment = cell.outside.volumes, run.memory["attachment"]
        server = cell.db.read(lambda c: cell.servers.get(c, run.subject))
        connection = volumes.connect_attachment(attachment, volume.connector_of(cell, server.host))
        volumes.complete_attachment(attachment)
        if payload["attachment"]:
            volumes.delete_attachment(payload["attachment"])
        goes_on_as = _goes_on_as(cell, payload["volume"], payload["new_volume"])
        size_gb = volumes.get(goes_on_as).size_gb

        def alter(device: BlockDevice) -> None:
            device.volume_id, device.attachment_id, device.size_gb = goes_on_as, attachment, size_gb
            volume.set_connection(device, connection)

        return Outcome(apply=lambda c: change(cell, c, run, alter))


class SwapVolume(Kind):
    name = "swap_volume"

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.steps = [Reserve(cell), Copy(cell), Finish(cell)]

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> None:
        def alter(server: Server) -> None:
            faults.set_fault(server, error)

        self._cell.servers.change(connection, run.subject, alter)


def _is_moving(cell: Cell, volume_id: str) -> bool:
    try:
        return bool(cell.outside.volumes.get(volume_id).migration_status in ("migrating", "starting"))
    except errors.NotFound:
        return False


def _goes_on_as(cell: Cell, volume_id: str, new_volume_id: str) -> str:
    """Ends the move, unless an earlier try has; of the two volumes one goes on, under an id the service tells."""
    volumes = cell.outside.volumes
    if _is_moving(cell, volume_id):
        return volumes.complete_migration(volume_id, new_volume_id, failed=False)
    try:
        return volumes.get(new_volume_id).id
    except errors.NotFound:
        return volume_id
