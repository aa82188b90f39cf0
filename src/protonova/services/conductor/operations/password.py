"""Setting the administrator's password inside a guest. The password is kept with what builds keep, and no longer
than the operation runs."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import Server
from protonova.compute.v1 import guest_pb2
from protonova.compute.v1.guest_pb2_grpc import GuestServiceStub
from protonova.services.conductor.actions import CHANGE_PASSWORD, Action
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import agent
from protonova.services.conductor.operations import build as building
from protonova.services.conductor.operations.power import PowerKind, PowerStep
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Run


class SetPassword(PowerStep):
    def action(self, run: Run) -> Action:
        return CHANGE_PASSWORD

    def call(self, run: Run, guests: GuestServiceStub, server: Server) -> guest_pb2.Guest:
        kept = self._cell.db.read(lambda connection: building.load(connection, run.subject))
        request = guest_pb2.SetGuestPasswordRequest(
            host=server.host,
            fence=agent.fence(run),
            server_id=server.id,
            user=server.image.properties.get("os_admin_user", ""),
            admin_password=kept.admin_password,
        )
        return guests.SetGuestPassword(request, timeout=self.timeout).guest


class ChangePassword(PowerKind):
    def finished(self, run: Run, connection: Connection) -> None:
        building.forget(connection, run.subject)

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> None:
        building.forget(connection, run.subject)
        super().failed(run, error, connection)


def kind(cell: Cell) -> PowerKind:
    step = SetPassword(cell, "updating_password", "compute_set_admin_password", 0)
    return ChangePassword(cell, CHANGE_PASSWORD.operation, step)
