"""The spawning step of a build: the host's agent makes the guest and starts it."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import Server, VmState
from protonova.compute.v1 import guest_pb2
from protonova.services.conductor import actions, faults
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
            chosen = building.destination(build, run)
            server = cell.servers.get(connection, run.subject)
            return build, chosen, server, cell.hosts.get(connection, chosen.host)

        build, chosen, server, host = cell.db.read(read)
        name = chosen.host
        request = guest_pb2.SpawnGuestRequest(
            host=name,
            fence=agent.fence(run),
            server=server,
            admin_password=build.admin_password,
            files=[guest_pb2.GuestFile(path=file.path, contents=file.contents) for file in build.files],
            pci_providers=chosen.pci_providers,
        )
        with agent.calling(name):
            stream = agent.guests_on(cell, host, name).SpawnGuest(request, timeout=self.timeout)
            guest = guest_of(run, stream)
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
                if guest.HasField("numa_topology"):
                    changed.numa_topology.CopyFrom(guest.numa_topology)
                del changed.pci_devices[:]
                changed.pci_devices.extend(guest.pci_devices)

            building.forget(connection, run.subject)
            if host is not None and host.failed_builds:
                cell.hosts.note_build(connection, name, refused=False)
            cell.servers.change(connection, run.subject, alter)

        return Outcome(apply=apply, host=name)

    def undo(self, run: Run) -> Outcome | None:
        build = self._cell.db.read(lambda c: building.load(c, run.subject))
        name = building.destination(build, run).host
        agent.destroy(self._cell, run, name)
        if run.error is None or not faults.another_host_may_do(run.error):
            return None
        return Outcome(apply=lambda connection: self._cell.hosts.note_build(connection, name, refused=True))


def guest_of(run: Run, stream: Any) -> guest_pb2.Guest:
    """Reads the progress of a spawn, a rescue or a rebuild until the guest is there; gives it up when the operation
    is preempted."""
    with run.interruptible(stream.cancel):
        try:
            for told in stream:
                if told.HasField("guest"):
                    guest: guest_pb2.Guest = told.guest
                    return guest
        except errors.Cancelled:
            run.check()
            raise
    raise errors.Unavailable("The agent ended before the guest was there.", reason="SERVICE_UNREACHABLE")
