"""Rebooting a guest, softly or hard. A soft reboot the guest does not obey in time becomes a hard one."""

from __future__ import annotations

from protonova.common.v1.server_pb2 import Server, VmState
from protonova.compute.v1 import guest_pb2
from protonova.compute.v1.guest_pb2_grpc import GuestServiceStub
from protonova.services.conductor.actions import REBOOT_HARD, REBOOT_SOFT, Action
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import agent
from protonova.services.conductor.operations.power import PowerKind, PowerStep
from protonova.services.runtime.operations import Run


class RebootStep(PowerStep):
    def action(self, run: Run) -> Action:
        return REBOOT_HARD if run.payload["hard"] else REBOOT_SOFT

    def call(self, run: Run, guests: GuestServiceStub, server: Server) -> guest_pb2.Guest:
        request = guest_pb2.RebootGuestRequest(
            host=server.host,
            fence=agent.fence(run),
            server_id=server.id,
            hard=run.payload["hard"],
            timeout_seconds=self._cell.conf.reboot_timeout,
        )
        return guests.RebootGuest(request, timeout=self.timeout).guest


class Reboot(PowerKind):
    def state_after_failure(self, action: Action) -> VmState.ValueType | None:
        return VmState.VM_STATE_ERROR if action is REBOOT_HARD else None


def kind(cell: Cell) -> PowerKind:
    step = RebootStep(cell, "rebooting", "compute_reboot_instance", cell.conf.reboot_timeout)
    return Reboot(cell, "reboot", step)
