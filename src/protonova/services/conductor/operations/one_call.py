"""Actions that are one call to the agent, which needs to know nothing but the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from protonova.common.v1.server_pb2 import Server
from protonova.compute.v1 import guest_pb2
from protonova.compute.v1.guest_pb2_grpc import GuestServiceStub
from protonova.services.conductor import actions
from protonova.services.conductor.actions import Action
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import agent
from protonova.services.conductor.operations.power import PowerKind, PowerStep
from protonova.services.runtime.operations import Run

Call = Callable[[GuestServiceStub], Any]


class OneCallStep(PowerStep):
    def __init__(
        self,
        cell: Cell,
        name: str,
        event: str,
        action: Action,
        method: Call,
        request: Callable[..., Any],
        patience: float = 0.0,
    ) -> None:
        super().__init__(cell, name, event, patience)
        self.action_row = action
        self._method = method
        self._request = request

    def action(self, run: Run) -> Action:
        return self.action_row

    def call(self, run: Run, guests: GuestServiceStub, server: Server) -> guest_pb2.Guest:
        request = self._request(host=server.host, fence=agent.fence(run), server_id=server.id)
        guest: guest_pb2.Guest = self._method(guests)(request, timeout=self.timeout).guest
        return guest


def kinds(cell: Cell) -> list[PowerKind]:
    """Pause, unpause, suspend, resume, and the trigger of a crash dump."""
    # To write a guest's memory to disk, or read it from there, may take as long as to make the guest.
    memory = cell.conf.conductor.spawn_timeout
    steps = (
        OneCallStep(
            cell,
            "pausing",
            "compute_pause_instance",
            actions.PAUSE,
            lambda guests: guests.PauseGuest,
            guest_pb2.PauseGuestRequest,
        ),
        OneCallStep(
            cell,
            "unpausing",
            "compute_unpause_instance",
            actions.UNPAUSE,
            lambda guests: guests.UnpauseGuest,
            guest_pb2.UnpauseGuestRequest,
        ),
        OneCallStep(
            cell,
            "suspending",
            "compute_suspend_instance",
            actions.SUSPEND,
            lambda guests: guests.SuspendGuest,
            guest_pb2.SuspendGuestRequest,
            memory,
        ),
        OneCallStep(
            cell,
            "resuming",
            "compute_resume_instance",
            actions.RESUME,
            lambda guests: guests.ResumeGuest,
            guest_pb2.ResumeGuestRequest,
            memory,
        ),
        OneCallStep(
            cell,
            "interrupting",
            "compute_trigger_crash_dump",
            actions.CRASH_DUMP,
            lambda guests: guests.TriggerGuestCrashDump,
            guest_pb2.TriggerGuestCrashDumpRequest,
        ),
    )
    return [PowerKind(cell, step.action_row.operation, step) for step in steps]
