"""Shelving: the guest stops, its root disk becomes an image, and the server may leave its host afterwards.

As long as it has not left the host, its disks are there and nothing is lost: a shelving that fails brings the guest
back. A server that boots from a volume needs no image, and leaves at once.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import PowerState, Server, TaskState, VmState
from protonova.compute.v1 import guest_pb2
from protonova.services.conductor import faults
from protonova.services.conductor.actions import OFFLOAD, SHELVE, settle
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import agent, offload
from protonova.services.conductor.operations.image import DISCARD, Copy, Record, Upload
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Kind, Outcome, Run, Step

KIND = SHELVE.operation


class Halt(Step):
    """The guest stops, by itself if it can. Taken back by starting it, if it was running."""

    name = "stop"
    event = "compute_shelve_instance"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(
            timeout=own.guest_timeout + cell.conf.shutdown_timeout, undo_timeout=own.cleanup_timeout
        )
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, host = self._read(run)
        request = guest_pb2.StopGuestRequest(
            host=server.host,
            fence=agent.fence(run),
            server_id=server.id,
            timeout_seconds=cell.conf.shutdown_timeout,
        )
        with agent.calling(server.host):
            agent.guests_on(cell, host, server.host).StopGuest(request, timeout=self.timeout)

        def apply(connection: Connection) -> None:
            cell.servers.change(connection, run.subject, _power(PowerState.POWER_STATE_SHUTDOWN))

        return Outcome(apply=apply, host=server.host)

    def undo(self, run: Run) -> Outcome | None:
        cell = self._cell
        server, host = self._read(run)
        if server.vm_state != VmState.VM_STATE_ACTIVE:
            return None
        request = guest_pb2.StartGuestRequest(host=server.host, fence=agent.fence(run), server_id=server.id)
        with agent.calling(server.host):
            guest = agent.guests_on(cell, host, server.host).StartGuest(request, timeout=self.timeout).guest

        def apply(connection: Connection) -> None:
            cell.servers.change(connection, run.subject, _power(guest.power_state))

        return Outcome(apply=apply)

    def _read(self, run: Run) -> Any:
        def read(connection: Connection) -> Any:
            server = self._cell.servers.get(connection, run.subject)
            return server, self._cell.hosts.get(connection, server.host)

        return self._cell.db.read(read)


class Shelve(Kind):
    name = KIND

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.steps = [
            Record(cell, TaskState.TASK_STATE_SHELVING),
            Halt(cell),
            Copy(cell, TaskState.TASK_STATE_SHELVING_IMAGE_UPLOADING),
            Upload(cell),
        ]

    def finished(self, run: Run, connection: Connection) -> None:
        image = run.payload.get("image")
        leaves = image is None or self._cell.conf.shelved_offload_time == 0

        def alter(server: Server) -> None:
            settle(SHELVE, server, vm_state=VmState.VM_STATE_SHELVED)
            server.shelved_image_id = image["id"] if image else ""
            server.shelved_at.CopyFrom(server.updated_at)
            if leaves:
                server.task_state = OFFLOAD.doing

        self._cell.servers.change(connection, run.subject, alter)
        if leaves:
            self.engine.create(connection, offload.KIND, run.subject, {})

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> None:
        def alter(server: Server) -> None:
            settle(SHELVE, server)
            faults.set_fault(server, error)

        self._cell.servers.change(connection, run.subject, alter)

    def preempted(self, run: Run, connection: Connection) -> None:
        if image := run.payload.get("image"):
            self.engine.create(connection, DISCARD, image["id"], {})


def _power(state: PowerState.ValueType) -> Any:
    def alter(server: Server) -> None:
        server.power_state = state

    return alter
