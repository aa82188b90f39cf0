"""What start, stop and reboot share: one call to the agent of the server's host, then the server says what the
guest became.

There is nothing to undo: a guest of which nobody knows whether it obeyed is reported by its agent, and the server
follows it once it is idle.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import Server, VmState
from protonova.compute.v1 import guest_pb2
from protonova.compute.v1.guest_pb2_grpc import GuestServiceStub
from protonova.services.conductor import faults
from protonova.services.conductor.actions import Action, settle
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import agent
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Kind, Outcome, Run, Step


class PowerStep(Step):
    """`event` is the name users see; `patience` is how long the guest itself may take."""

    def __init__(self, cell: Cell, name: str, event: str, patience: float) -> None:
        super().__init__(name, event=event, timeout=cell.conf.conductor.guest_timeout + patience)
        self._cell = cell

    @abstractmethod
    def action(self, run: Run) -> Action:
        """The row of the table this is about."""

    @abstractmethod
    def call(self, run: Run, guests: GuestServiceStub, server: Server) -> guest_pb2.Guest:
        """Lets the agent do it."""

    def state_after(self, guest: guest_pb2.Guest, action: Action) -> VmState.ValueType | None:
        """What the server is then; None = as before."""
        return action.after

    def do(self, run: Run) -> Outcome:
        cell = self._cell

        def read(connection: Connection) -> Any:
            server = cell.servers.get(connection, run.subject)
            return server, cell.hosts.get(connection, server.host)

        server, host = cell.db.read(read)
        with agent.calling(server.host):
            guest = self.call(run, agent.guests_on(cell, host, server.host), server)
        action = self.action(run)
        after = self.state_after(guest, action)

        def apply(connection: Connection) -> None:
            cell.servers.change(
                connection,
                run.subject,
                lambda changed: settle(action, changed, vm_state=after, power_state=guest.power_state),
            )

        return Outcome(apply=apply, host=server.host)


class PowerKind(Kind):
    """An operation of one `PowerStep`."""

    def __init__(self, cell: Cell, name: str, step: PowerStep) -> None:
        self._cell = cell
        self._step = step
        self.name = name
        self.steps = [step]

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> None:
        """The server stays what it was, but for those failures that leave no guest worth the name."""
        action = self._step.action(run)

        def alter(server: Server) -> None:
            settle(action, server, vm_state=self.state_after_failure(action))
            faults.set_fault(server, error)

        self._cell.servers.change(connection, run.subject, alter)

    def state_after_failure(self, action: Action) -> VmState.ValueType | None:
        """None = as before."""
        return None
