"""The spawning step of a build: the host's agent makes the guest and starts it."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import Server, VmState
from protonova.compute.v1 import guest_pb2
from protonova.services.conductor import actions
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import agent, volume
from protonova.services.conductor.operations import build as building
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Outcome, Run, Step


class Spawning(Step):
    name = "spawning"
    event = "compute__do_build_and_run_instance"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.spawn_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell

        def read(connection: Connection) -> Any:
            build = building.load(connection, run.subject)
            name = building.destination(build, run).host
            return build, name, cell.servers.get(connection, run.subject), cell.hosts.get(connection, name)

        build, name, server, host = cell.db.read(read)
        request = guest_pb2.SpawnGuestRequest(
            host=name,
            fence=agent.fence(run),
            server=server,
            admin_password=build.admin_password,
            files=[guest_pb2.GuestFile(path=file.path, contents=file.contents) for file in build.files],
        )
        with agent.calling(name):
            stream = agent.guests_on(cell, host, name).SpawnGuest(request, timeout=self.timeout)
            guest = _guest(run, stream)
        volume.complete_volumes(cell, server)

        def apply(connection: Connection) -> None:
            def alter(changed: Server) -> None:
                actions.settle(
                    actions.CREATE, changed, vm_state=VmState.VM_STATE_ACTIVE, power_state=guest.power_state
                )
                changed.launched_at.CopyFrom(changed.updated_at)
                if guest.instance_name:
                    changed.instance_name = guest.instance_name
                changed.root_device_name = guest.root_device_name or changed.root_device_name

            building.forget(connection, run.subject)
            cell.servers.change(connection, run.subject, alter)

        return Outcome(apply=apply, host=name)

    def undo(self, run: Run) -> None:
        build = self._cell.db.read(lambda c: building.load(c, run.subject))
        agent.destroy(self._cell, run, building.destination(build, run).host)


def _guest(run: Run, stream: Any) -> guest_pb2.Guest:
    """Reads the progress of a spawn until the guest is there; gives it up when the server is to be deleted."""
    with run.interruptible(stream.cancel):
        try:
            for told in stream:
                if told.HasField("guest"):
                    return told.guest
        except errors.Cancelled:
            run.check()
            raise
    raise errors.Unavailable("The agent ended before the guest was there.", reason="SERVICE_UNREACHABLE")
