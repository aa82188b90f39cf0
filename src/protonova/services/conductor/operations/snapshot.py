"""Images and backups of a server whose root disk is on its host. The server stays what it was in any case."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import TaskState
from protonova.services.conductor.actions import CREATE_BACKUP, CREATE_IMAGE, Action, settle
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations.image import DISCARD, Copy, Record, Upload
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Kind, Run, Step


class Rotate(Step):
    """Deletes the oldest backups of the same kind beyond those to be kept."""

    name = "rotate"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> None:
        images = self._cell.outside.images
        kept = run.payload["rotation"]
        for image_id in images.backups_of(run.subject, run.payload["backup_type"])[kept:]:
            images.delete(image_id)


class Snapshot(Kind):
    def __init__(self, cell: Cell, action: Action, more: Sequence[Step] = ()) -> None:
        self.name = action.operation
        self._cell = cell
        self._action = action
        copying = TaskState.TASK_STATE_IMAGE_SNAPSHOT if action is CREATE_IMAGE else action.doing
        self.steps = [
            Record(cell, copying),
            Copy(cell, TaskState.TASK_STATE_IMAGE_UPLOADING),
            Upload(cell),
            *more,
        ]

    def finished(self, run: Run, connection: Connection) -> None:
        self._settle(run, connection)

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> None:
        self._settle(run, connection)

    def preempted(self, run: Run, connection: Connection) -> None:
        """The copy goes with the guest; the image, unless it is whole, by an operation of its own."""
        if run.step != "rotate":
            self.engine.create(connection, DISCARD, run.payload["image"]["id"], {})

    def _settle(self, run: Run, connection: Connection) -> None:
        self._cell.servers.change(connection, run.subject, lambda server: settle(self._action, server))


def create_image(cell: Cell) -> Snapshot:
    return Snapshot(cell, CREATE_IMAGE)


def create_backup(cell: Cell) -> Snapshot:
    return Snapshot(cell, CREATE_BACKUP, [Rotate(cell)])
