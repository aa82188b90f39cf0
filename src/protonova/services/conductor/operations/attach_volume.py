"""Attaching a volume: reserved at the volume service, connected to the server's host, plugged into the guest,
completed. A server without a host has it reserved and completed, so that it is in use like any other, though on no
host; it is connected where the server goes next.

The record has the disk from the moment the operation begins, so that whoever deletes the server meanwhile knows of
it. When something fails everything is undone, the disk leaves the record, and the server says why.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import BlockDevice, Server
from protonova.services.conductor import faults
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import volume
from protonova.services.conductor.operations.plugging import Plugging
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Kind, Outcome, Run, Step


def device_of(server: Server, run: Run) -> BlockDevice:
    """The disk an operation is about. Raises `errors.NotFound` (DEVICE_NOT_FOUND)."""
    for device in server.block_devices:
        if device.id == run.payload["device"]:
            return device
    raise errors.NotFound(
        f"Server {server.id} does not have volume {run.payload['volume']} any more.",
        reason="DEVICE_NOT_FOUND",
        volume_id=run.payload["volume"],
    )


class Reserve(Step):
    name = "reserve"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.volume_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server = cell.db.read(lambda c: cell.servers.get(c, run.subject))
        attachment = reserve(cell, server.id, run.payload["volume"])

        def apply(connection: Connection) -> None:
            change(cell, connection, run, lambda device: setattr(device, "attachment_id", attachment))

        return Outcome(memory={"attachment": attachment, "host": server.host}, apply=apply)

    def undo(self, run: Run) -> None:
        release(self._cell, run.subject, run.payload["volume"])


class Connect(Step):
    """Undone with the reservation."""

    name = "connect"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.volume_timeout)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return bool(run.memory["host"])

    def do(self, run: Run) -> Outcome:
        cell, memory = self._cell, run.memory
        connector = volume.connector_of(cell, memory["host"])
        found = cell.outside.volumes.connect_attachment(memory["attachment"], connector)

        def apply(connection: Connection) -> None:
            change(cell, connection, run, lambda device: volume.set_connection(device, found))

        return Outcome(apply=apply)


class Plug(Step):
    name = "plug"
    event = "compute_attach_volume"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        timeout = max(own.guest_timeout, own.detach_timeout)
        super().__init__(timeout=timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return bool(run.memory["host"])

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        device = device_of(cell.db.read(lambda c: cell.servers.get(c, run.subject)), run)
        name = Plugging(cell, run, run.memory["host"], self.timeout).attach_volume(device)
        return Outcome(memory={"name": name}, host=run.memory["host"])

    def undo(self, run: Run) -> None:
        if run.memory.get("host"):
            plugging = Plugging(self._cell, run, run.memory["host"], self.timeout)
            if not plugging.untouched:
                plugging.detach_volume(run.payload["volume"])


class Complete(Step):
    name = "complete"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.volume_timeout)
        self._cell = cell

    def do(self, run: Run) -> None:
        self._cell.outside.volumes.complete_attachment(run.memory["attachment"])


class AttachVolume(Kind):
    name = "attach_volume"

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.steps = [Reserve(cell), Connect(cell), Plug(cell), Complete(cell)]

    def finished(self, run: Run, connection: Connection) -> None:
        def alter(device: BlockDevice) -> None:
            device.device_name = run.memory.get("name") or device.device_name
            # Not before it is attached: whoever deletes the server until then leaves the volume alone.
            device.delete_on_termination = run.payload["delete_on_termination"]

        change(self._cell, connection, run, alter)

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> None:
        def alter(server: Server) -> None:
            drop(server, run.payload["device"])
            faults.set_fault(server, error)

        self._cell.servers.change(connection, run.subject, alter)


def reserve(cell: Cell, server_id: str, volume_id: str) -> str:
    """The attachment of a volume to a server, made unless there is one. Raises `errors.NotFound`
    (VOLUME_NOT_FOUND), `errors.InvalidArgument` (VOLUME_UNUSABLE)."""
    volumes = cell.outside.volumes
    known = volumes.attachments_of(server_id).get(volume_id)
    if known is not None:
        return known
    try:
        return volumes.create_attachment(volume_id, server_id)
    except errors.NotFound as error:
        raise errors.NotFound(
            f"Volume {volume_id} could not be found.", reason="VOLUME_NOT_FOUND", volume_id=volume_id
        ) from error
    except (errors.InvalidArgument, errors.FailedPrecondition) as error:
        raise errors.InvalidArgument(
            f"Volume {volume_id} cannot be attached: {error.message}",
            reason="VOLUME_UNUSABLE",
            volume_id=volume_id,
            cause="refused",
        ) from error


def release(cell: Cell, server_id: str, volume_id: str) -> None:
    volumes = cell.outside.volumes
    attachment = volumes.attachments_of(server_id).get(volume_id)
    if attachment is not None:
        volumes.delete_attachment(attachment)


def change(cell: Cell, connection: Connection, run: Run, alter: Any) -> None:
    """Alters the disk an operation is about."""
    cell.servers.change(connection, run.subject, lambda server: alter(device_of(server, run)))


def drop(server: Server, device_id: str) -> None:
    left = [device for device in server.block_devices if device.id != device_id]
    del server.block_devices[:]
    server.block_devices.extend(left)
