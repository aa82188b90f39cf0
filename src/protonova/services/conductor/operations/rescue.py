"""Rescue: the guest boots from another image, with its own disks beside it; and its end.

What fails leaves the server as it was: the undo has the agent end whatever there is of the rescue.
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import PowerState, Server
from protonova.compute.v1 import guest_pb2
from protonova.services.conductor import actions, faults
from protonova.services.conductor.actions import RESCUE, UNRESCUE
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import agent
from protonova.services.conductor.operations import build as building
from protonova.services.conductor.operations.one_call import OneCallStep
from protonova.services.conductor.operations.power import PowerKind
from protonova.services.conductor.operations.spawn import guest_of
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Kind, Outcome, Run, Step


class Rescuing(Step):
    name = "rescuing"
    event = "compute_rescue_instance"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.spawn_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, kept = cell.db.read(
            lambda c: (cell.servers.get(c, run.subject), building.load(c, run.subject))
        )
        request = guest_pb2.RescueGuestRequest(
            host=server.host,
            fence=agent.fence(run),
            server=server,
            image=kept.server.image,
            admin_password=kept.admin_password,
        )
        guests = agent.guests_on(cell, cell.host(server.host), server.host)
        with agent.calling(server.host):
            guest = guest_of(run, guests.RescueGuest(request, timeout=self.timeout))

        def apply(connection: Connection) -> None:
            def alter(changed: Server) -> None:
                changed.previous_vm_state = changed.vm_state
                changed.rescued_at.CopyFrom(changed.updated_at)
                actions.settle(RESCUE, changed, vm_state=RESCUE.after, power_state=guest.power_state)

            building.forget(connection, run.subject)
            cell.servers.change(connection, run.subject, alter)

        return Outcome(apply=apply, host=server.host)

    def undo(self, run: Run) -> Outcome | None:
        cell = self._cell
        server = cell.db.read(lambda c: cell.servers.get(c, run.subject))
        host = cell.host(server.host)
        if host is None or not host.up:
            # Its agent can be told nothing; any start there ends the rescue.
            return None
        request = guest_pb2.UnrescueGuestRequest(
            host=server.host,
            fence=agent.fence(run),
            server_id=server.id,
            start=server.power_state == PowerState.POWER_STATE_RUNNING,
        )
        with agent.putting_back(server.id), agent.calling(server.host):
            agent.guests_on(cell, host, server.host).UnrescueGuest(
                request, timeout=cell.conf.conductor.guest_timeout
            )
        return None


class Rescue(Kind):
    name = RESCUE.operation

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.steps = [Rescuing(cell)]

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> None:
        def alter(server: Server) -> None:
            actions.settle(RESCUE, server)
            faults.set_fault(server, error)

        building.forget(connection, run.subject)
        self._cell.servers.change(connection, run.subject, alter)


def unrescue(cell: Cell) -> PowerKind:
    step = OneCallStep(
        cell,
        "unrescuing",
        "compute_unrescue_instance",
        UNRESCUE,
        lambda guests: guests.UnrescueGuest,
        lambda **fields: guest_pb2.UnrescueGuestRequest(start=True, **fields),
    )
    return PowerKind(cell, UNRESCUE.operation, step)


def check_volumes(server: Server) -> None:
    """A guest cannot boot with a volume that is on its way. Raises VOLUME_NOT_ATTACHED."""
    for device in server.block_devices:
        if device.volume_id and not device.attachment_id:
            raise errors.FailedPrecondition(
                f"Volume {device.volume_id} of server {server.id} is not attached.",
                reason="VOLUME_NOT_ATTACHED",
                server_id=server.id,
                volume_id=device.volume_id,
            )
