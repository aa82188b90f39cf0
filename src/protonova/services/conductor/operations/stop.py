"""Stopping a server: its guest may shut down by itself for a while, then it is cut off.

One that nobody asked for is begun because a guest was seen in a state its server should not be in. Such a report
may be of the past, so only a guest that is in such a state still (`only_in` of the payload) is stopped.
"""

from __future__ import annotations

from protonova.common.v1.server_pb2 import Server, VmState
from protonova.compute.v1 import guest_pb2
from protonova.compute.v1.guest_pb2_grpc import GuestServiceStub
from protonova.services.conductor.actions import STOP, Action
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import agent
from protonova.services.conductor.operations.power import PowerKind, PowerStep
from protonova.services.conductor.states import RUNS
from protonova.services.runtime.operations import Run

# An image may ask for more patience than the operator gives by default, but not for more than this (seconds).
_LONGEST = 3600


class StopStep(PowerStep):
    def __init__(self, cell: Cell) -> None:
        super().__init__(cell, "powering_off", "compute_stop_instance", _LONGEST)

    def action(self, run: Run) -> Action:
        return STOP

    def call(self, run: Run, guests: GuestServiceStub, server: Server) -> guest_pb2.Guest:
        patience = self._patience(server)
        request = guest_pb2.StopGuestRequest(
            host=server.host,
            fence=agent.fence(run),
            server_id=server.id,
            timeout_seconds=patience,
            only_in=run.payload.get("only_in", ()),
        )
        return guests.StopGuest(request, timeout=self._cell.conf.conductor.guest_timeout + patience).guest

    def state_after(self, guest: guest_pb2.Guest, action: Action) -> VmState.ValueType | None:
        return None if guest.power_state in RUNS else action.after

    def _patience(self, server: Server) -> int:
        asked = server.image.properties.get("os_shutdown_timeout", "")
        return min(int(asked), _LONGEST) if asked.isdecimal() else self._cell.conf.shutdown_timeout


def kind(cell: Cell) -> PowerKind:
    return PowerKind(cell, "stop", StopStep(cell))
