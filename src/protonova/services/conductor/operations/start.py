"""Starting the guest of a stopped server."""

from __future__ import annotations

from protonova.common.v1.server_pb2 import Server
from protonova.compute.v1 import guest_pb2
from protonova.compute.v1.guest_pb2_grpc import GuestServiceStub
from protonova.services.conductor.actions import START, Action
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import agent
from protonova.services.conductor.operations.power import PowerKind, PowerStep
from protonova.services.runtime.operations import Run


class StartStep(PowerStep):
    def action(self, run: Run) -> Action:
        return START

    def call(self, run: Run, guests: GuestServiceStub, server: Server) -> guest_pb2.Guest:
        request = guest_pb2.StartGuestRequest(host=server.host, fence=agent.fence(run), server_id=server.id)
        return guests.StartGuest(request, timeout=self.timeout).guest


def kind(cell: Cell) -> PowerKind:
    return PowerKind(cell, "start", StartStep(cell, "powering_on", "compute_start_instance", 0))
