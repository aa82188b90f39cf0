"""Snapshots that the volume service makes of volumes in use, with our help: only the hypervisor can have a running
guest go on in another file, or merge files under it. The volume service is told how it ended, whatever comes.

A guest that goes on in the new file stays there, also where the rest fails: the volume service sees the snapshot as
failed, and has the files merged when that is deleted.
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import BlockDevice
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import volume
from protonova.services.conductor.operations.attach_volume import change, device_of
from protonova.services.conductor.operations.plugging import Plugging
from protonova.services.runtime.operations import Kind, Outcome, Run, Step


class Promise(Step):
    """Does nothing; its undo tells the volume service that nothing came of it."""

    name = "promise"

    def __init__(self, cell: Cell, failed: str) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.volume_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell
        self._failed = failed

    def do(self, run: Run) -> None:
        return

    def undo(self, run: Run) -> None:
        self._cell.outside.volumes.tell_snapshot(run.payload["snapshot"], self._failed)


class Fulfil(Step):
    name = "fulfil"

    def __init__(self, cell: Cell, done: str) -> None:
        super().__init__(timeout=cell.conf.conductor.volume_timeout)
        self._cell = cell
        self._done = done

    def do(self, run: Run) -> None:
        self._cell.outside.volumes.tell_snapshot(run.payload["snapshot"], self._done)


class Take(Step):
    name = "take"
    event = "compute_volume_snapshot_create"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.guest_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell, payload = self._cell, run.payload
        server = cell.db.read(lambda c: cell.servers.get(c, run.subject))
        device_of(server, run)
        plugging = Plugging(cell, run, server.host, self.timeout)
        connection = plugging.snapshot_volume(payload["volume"], payload["new_file"])

        def alter(device: BlockDevice) -> None:
            if connection:
                volume.set_connection(device, connection)

        def apply(database: Connection) -> None:
            change(cell, database, run, alter)

        return Outcome(apply=apply, host=server.host)


class Merge(Step):
    name = "merge"
    event = "compute_volume_snapshot_delete"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.volume_swap_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell, payload = self._cell, run.payload
        server = cell.db.read(lambda c: cell.servers.get(c, run.subject))
        device_of(server, run)
        plugging = Plugging(cell, run, server.host, self.timeout)
        plugging.merge_volume(payload["volume"], payload["file_to_merge"], payload["merge_target_file"])
        return Outcome(host=server.host)


class SnapshotVolume(Kind):
    name = "snapshot_volume"

    def __init__(self, cell: Cell) -> None:
        self.steps = [Promise(cell, "error"), Take(cell), Fulfil(cell, "creating")]


class MergeVolume(Kind):
    name = "merge_volume"

    def __init__(self, cell: Cell) -> None:
        self.steps = [Promise(cell, "error_deleting"), Merge(cell), Fulfil(cell, "deleting")]
