"""Deletion with a way back: the guest is switched off and the server is out of its owner's sight and quota; what it
holds stays. `restore` brings it back, `delete` ends it, by its owner's word or after `reclaim_instance_interval`.
A resize that waits is confirmed first: what its source has kept is not to be restored.

`soft_deleted_at` says since when, and is set if and only if the server is SOFT_DELETED.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.engine import Connection

from protonova.api.v1 import server_pb2 as api_pb2
from protonova.common.v1.server_pb2 import PowerState, Server, VmState
from protonova.compute.v1 import guest_pb2
from protonova.services.conductor import actions, faults
from protonova.services.conductor.actions import RESTORE, SOFT_DELETE, Action
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import agent
from protonova.services.conductor.operations import build as building
from protonova.services.conductor.operations.moves import confirm
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Kind, Outcome, Run, Step

KEEP_OFF = "keep_off"
_OFF = PowerState.POWER_STATE_SHUTDOWN
_STOOD_STILL = (VmState.VM_STATE_PAUSED, VmState.VM_STATE_SUSPENDED)


def _switch_off(cell: Cell, run: Run, server: Server) -> PowerState.ValueType:
    """What the guest is then. One that is not there is off; one whose host is down is switched off when its agent
    reports it."""
    host = cell.host(server.host)
    if host is None or (not host.up and cell.conf.conductor.delete_without_agent):
        return _OFF
    request = guest_pb2.StopGuestRequest(
        host=server.host,
        fence=agent.fence(run),
        server_id=server.id,
        timeout_seconds=cell.conf.shutdown_timeout,
    )
    with agent.calling(server.host):
        try:
            answer = agent.guests_on(cell, host, server.host).StopGuest(
                request, timeout=cell.conf.conductor.guest_timeout + cell.conf.shutdown_timeout
            )
        except errors.NotFound as error:
            if error.reason != "GUEST_NOT_FOUND":
                raise
            return _OFF
    return answer.guest.power_state


def _switch_on(cell: Cell, run: Run, server: Server) -> PowerState.ValueType:
    guests = agent.guests_on(cell, cell.host(server.host), server.host)
    request = guest_pb2.StartGuestRequest(host=server.host, fence=agent.fence(run), server_id=server.id)
    with agent.calling(server.host):
        return guests.StartGuest(request, timeout=cell.conf.conductor.guest_timeout).guest.power_state


class SwitchOff(Step):
    """For servers that are being deleted softly, and for those that are and whose guest was seen running."""

    def __init__(self, cell: Cell, event: str | None) -> None:
        own = cell.conf.conductor
        patience = own.guest_timeout + cell.conf.shutdown_timeout + cell.conf.service_down_time
        super().__init__("switch_off", event=event, timeout=patience)
        self._cell = cell

    def do(self, run: Run) -> Outcome | None:
        cell = self._cell
        server = cell.db.read(lambda connection: cell.servers.get(connection, run.subject))
        deleted = server.vm_state == VmState.VM_STATE_SOFT_DELETED
        if not server.host or not (deleted or SOFT_DELETE.owns(server.task_state)):
            return None
        seen = _switch_off(cell, run, server)
        return Outcome(apply=_became(cell, run, seen), host=server.host)

    def undo(self, run: Run) -> Outcome | None:
        """The server is what it was: one that ran runs again. What one that stood still had in memory is lost."""
        cell = self._cell
        server = cell.db.read(lambda connection: cell.servers.get(connection, run.subject))
        if server.vm_state not in (VmState.VM_STATE_ACTIVE, *_STOOD_STILL):
            return None
        if server.vm_state == VmState.VM_STATE_ACTIVE:
            with agent.putting_back(server.id):
                return Outcome(apply=_became(cell, run, _switch_on(cell, run, server)))
        return Outcome(apply=_became(cell, run, _OFF, VmState.VM_STATE_STOPPED))


def _became(
    cell: Cell, run: Run, power_state: PowerState.ValueType, vm_state: VmState.ValueType | None = None
) -> Callable[[Connection], None]:
    def alter(server: Server) -> None:
        server.power_state = power_state
        if vm_state is not None:
            server.vm_state = vm_state

    def apply(connection: Connection) -> None:
        cell.servers.change(connection, run.subject, alter)

    return apply


class ReturnQuota(Step):
    def __init__(self, cell: Cell) -> None:
        patience = cell.conf.conductor.cleanup_timeout
        super().__init__("quota", timeout=patience, undo_timeout=patience)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        cell.outside.api.ReturnServerQuota(api_pb2.ReturnServerQuotaRequest(id=run.subject))

        def apply(connection: Connection) -> None:
            def alter(server: Server) -> None:
                actions.settle(SOFT_DELETE, server, vm_state=SOFT_DELETE.after)
                server.soft_deleted_at.CopyFrom(server.updated_at)

            # What a preempted action has kept is of no use to anyone.
            building.forget(connection, run.subject)
            cell.servers.change(connection, run.subject, alter)

        return Outcome(apply=apply)

    def undo(self, run: Run) -> None:
        """The server is there still, whatever others have taken meanwhile."""
        self._cell.outside.api.ChargeServerQuota(
            api_pb2.ChargeServerQuotaRequest(id=run.subject, beyond_limits=True)
        )


class TakeQuota(Step):
    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__("quota", timeout=own.guest_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> None:
        self._cell.outside.api.ChargeServerQuota(api_pb2.ChargeServerQuotaRequest(id=run.subject))

    def undo(self, run: Run) -> None:
        self._cell.outside.api.ReturnServerQuota(api_pb2.ReturnServerQuotaRequest(id=run.subject))


class SwitchOn(Step):
    def __init__(self, cell: Cell) -> None:
        super().__init__(
            "restoring", event="compute_restore_instance", timeout=cell.conf.conductor.guest_timeout
        )
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server = cell.db.read(lambda connection: cell.servers.get(connection, run.subject))
        seen = _switch_on(cell, run, server)

        def apply(connection: Connection) -> None:
            def alter(changed: Server) -> None:
                actions.settle(RESTORE, changed, vm_state=RESTORE.after, power_state=seen)
                changed.ClearField("soft_deleted_at")

            cell.servers.change(connection, run.subject, alter)

        return Outcome(apply=apply, host=server.host)


class _Unchanged(Kind):
    """What fails leaves the server as it was."""

    action: Action

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> None:
        def alter(server: Server) -> None:
            actions.settle(self.action, server)
            faults.set_fault(server, error)

        self._cell.servers.change(connection, run.subject, alter)


class SoftDelete(_Unchanged):
    name = SOFT_DELETE.operation
    action = SOFT_DELETE

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        self.steps = [
            confirm.Discard(cell),
            confirm.Release(cell),
            SwitchOff(cell, "compute_soft_delete_instance"),
            ReturnQuota(cell),
        ]

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> None:
        super().failed(run, error, connection)
        if run.payload.get("migration"):
            confirm.still_waits(run, connection)


class Restore(_Unchanged):
    name = RESTORE.operation
    action = RESTORE

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        self.steps = [TakeQuota(cell), SwitchOn(cell)]


class KeepOff(Kind):
    """The guest of a softly deleted server runs: its host was down at the deletion, or somebody started it."""

    name = KEEP_OFF

    def __init__(self, cell: Cell) -> None:
        self.steps = [SwitchOff(cell, None)]
