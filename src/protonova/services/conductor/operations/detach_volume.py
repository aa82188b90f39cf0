"""Detaching a volume: marked at the volume service, taken from the guest, given back.

A guest may hold on to a disk. It is asked for as long as its host's options say; then the operation fails, the
volume is in use as before, and the server says why.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import BlockDevice, Server
from protonova.services.conductor import faults
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import volume
from protonova.services.conductor.operations.attach_volume import change, device_of, drop, reserve
from protonova.services.conductor.operations.plugging import Plugging
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Kind, Outcome, Run, Step


class Mark(Step):
    name = "begin_detaching"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.volume_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> None:
        if self._status(run) == "in-use":
            self._cell.outside.volumes.begin_detaching(run.payload["volume"])

    def undo(self, run: Run) -> None:
        if self._status(run) == "detaching":
            self._cell.outside.volumes.roll_detaching(run.payload["volume"])

    def _status(self, run: Run) -> str:
        """Empty = the volume is gone."""
        try:
            return self._cell.outside.volumes.get(run.payload["volume"]).status
        except errors.NotFound:
            return ""


class Unplug(Step):
    name = "unplug"
    event = "compute_detach_volume"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.detach_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        server = self._cell.db.read(lambda c: self._cell.servers.get(c, run.subject))
        if server.host:
            Plugging(self._cell, run, server.host, self.timeout).detach_volume(run.payload["volume"])
        return Outcome(host=server.host)

    def undo(self, run: Run) -> None:
        """The guest has it again."""
        if run.memory.get("lost"):
            return
        server = self._cell.db.read(lambda c: self._cell.servers.get(c, run.subject))
        plugging = Plugging(self._cell, run, server.host, self.timeout)
        device = device_of(server, run)
        if server.host and device.HasField("connection") and not plugging.untouched:
            plugging.attach_volume(device)


class Release(Step):
    name = "release"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.cleanup_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        if run.payload["attachment"]:
            cell.outside.volumes.delete_attachment(run.payload["attachment"])

        def apply(connection: Connection) -> None:
            cell.servers.change(connection, run.subject, lambda s: drop(s, run.payload["device"]))

        return Outcome(apply=apply)

    def undo(self, run: Run) -> Outcome:
        """Attached as before, by an attachment of its own where the first is gone; a volume that somebody else has
        taken meanwhile, or that is gone, is detached for good."""
        cell, volumes = self._cell, self._cell.outside.volumes
        server = cell.db.read(lambda c: cell.servers.get(c, run.subject))
        try:
            attachment = reserve(cell, server.id, run.payload["volume"])
        except (errors.NotFound, errors.InvalidArgument):

            def lose(connection: Connection) -> None:
                cell.servers.change(connection, run.subject, lambda s: drop(s, run.payload["device"]))

            return Outcome(memory={"lost": True}, apply=lose)
        found: dict[str, Any] = {}
        if server.host:
            found = volumes.connect_attachment(attachment, volume.connector_of(cell, server.host))
        volumes.complete_attachment(attachment)

        def alter(device: BlockDevice) -> None:
            device.attachment_id = attachment
            if found:
                volume.set_connection(device, found)

        return Outcome(apply=lambda connection: change(cell, connection, run, alter))


class DetachVolume(Kind):
    name = "detach_volume"

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.steps = [Mark(cell), Unplug(cell), Release(cell)]

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> None:
        def alter(server: Server) -> None:
            faults.set_fault(server, error)

        self._cell.servers.change(connection, run.subject, alter)
