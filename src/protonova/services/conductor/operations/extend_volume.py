"""A volume has become larger: the guest is to see it."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import Server
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations.plugging import Plugging
from protonova.services.runtime.operations import Kind, Outcome, Run, Step


class Extend(Step):
    name = "extend"
    event = "compute_extend_volume"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.guest_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell, volume_id = self._cell, run.payload["volume"]
        server = cell.db.read(lambda c: cell.servers.get(c, run.subject))
        size_gb = cell.outside.volumes.get(volume_id).size_gb
        if server.host:
            Plugging(cell, run, server.host, self.timeout).extend_volume(volume_id, size_gb)

        def alter(changed: Server) -> None:
            for device in changed.block_devices:
                if device.volume_id == volume_id:
                    device.size_gb = size_gb

        def apply(connection: Connection) -> None:
            cell.servers.change(connection, run.subject, alter)

        return Outcome(apply=apply, host=server.host)


class ExtendVolume(Kind):
    name = "extend_volume"

    def __init__(self, cell: Cell) -> None:
        self.steps = [Extend(cell)]
