"""Attaching a share to a server that is off: its host is let in, the share is kept from being deleted, and the
guest has it from its next start on.

The record has the share from the moment the operation begins. When something fails everything is undone, but the
record goes on to show the share, in error, until it is detached: that is how its user learns of it.
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import Server, ServerShare, ShareStatus
from protonova.services.conductor import actions, faults
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import share_access
from protonova.services.conductor.operations.plugging import Plugging
from protonova.services.conductor.servers import shares
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Kind, Outcome, Run, Step


def attached(cell: Cell, run: Run) -> tuple[Server, ServerShare]:
    """The server and the share that an operation is about."""
    server = cell.db.read(lambda connection: cell.servers.get(connection, run.subject))
    return server, shares.find(server, run.payload["share"])


class GiveBack(Step):
    """Does nothing. Undone last, when the record says already that the share is not needed here."""

    name = "begin"
    pure = True

    def __init__(self, cell: Cell) -> None:
        super().__init__(undo_timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> None:
        return

    def undo(self, run: Run) -> None:
        server, share = attached(self._cell, run)
        share_access.give_back(self._cell, run, share, server.host)


class LetIn(Step):
    name = "access"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        timeout = own.volume_timeout + cell.conf.manila.share_apply_policy_timeout
        super().__init__(timeout=timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        server, share = attached(self._cell, run)
        share_access.allow(self._cell, run, share, server.host)
        return Outcome(host=server.host)

    def undo(self, run: Run) -> Outcome:
        """Only says so: see `share_access`."""

        def apply(connection: Connection) -> None:
            mark_failed(self._cell, run, connection)

        return Outcome(apply=apply)


class Plug(Step):
    name = "plug"
    event = "compute_attach_share"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.guest_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        server, share = attached(self._cell, run)
        Plugging(self._cell, run, server.host, self.timeout).attach_share(share)
        return Outcome(host=server.host)

    def undo(self, run: Run) -> None:
        server, share = attached(self._cell, run)
        plugging = Plugging(self._cell, run, server.host, self.timeout)
        if not plugging.untouched:
            plugging.detach_share(share.share_id)


class AttachShare(Kind):
    name = "attach_share"

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.steps = [GiveBack(cell), LetIn(cell), Plug(cell)]

    def finished(self, run: Run, connection: Connection) -> None:
        def alter(server: Server) -> None:
            share = shares.find(server, run.payload["share"])
            share.plugged, share.status = True, ShareStatus.SHARE_STATUS_INACTIVE

        self._cell.servers.change(connection, run.subject, alter)

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> None:
        mark_failed(self._cell, run, connection, error)

    def preempted(self, run: Run, connection: Connection) -> None:
        """A reset of the state: what is half attached can be detached."""
        mark_failed(self._cell, run, connection)


def mark_failed(cell: Cell, run: Run, connection: Connection, error: errors.Error | None = None) -> None:
    """The share stays with the server, in error, unless the server is being deleted."""

    def alter(server: Server) -> None:
        if not actions.DELETE.owns(server.task_state):
            shares.give_up(server, run.payload["share"])
        if error is not None:
            faults.set_fault(server, error)

    cell.servers.change(connection, run.subject, alter)
