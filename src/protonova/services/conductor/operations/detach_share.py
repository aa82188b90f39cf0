"""Detaching a share from a server that is off: taken from the guest and its host, then given back.

It only goes forward. What cannot be finished leaves the share with the server, in error, and it can be detached
again; what of it is done by then is not done twice.
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import share_access
from protonova.services.conductor.operations.attach_share import attached, mark_failed
from protonova.services.conductor.operations.plugging import Plugging
from protonova.services.conductor.servers import shares
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Kind, Outcome, Run, Step


class Unplug(Step):
    name = "unplug"
    event = "compute_detach_share"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.detach_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        server, share = attached(self._cell, run)
        if server.host:
            Plugging(self._cell, run, server.host, self.timeout).detach_share(share.share_id)
        return Outcome(host=server.host)


class GiveBack(Step):
    name = "access"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, share = attached(cell, run)
        share_access.give_back(cell, run, share, server.host)

        def apply(connection: Connection) -> None:
            cell.servers.change(connection, run.subject, lambda s: shares.drop(s, share.share_id))

        return Outcome(apply=apply)


class DetachShare(Kind):
    name = "detach_share"

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.steps = [Unplug(cell), GiveBack(cell)]

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> None:
        mark_failed(self._cell, run, connection, error)

    def preempted(self, run: Run, connection: Connection) -> None:
        mark_failed(self._cell, run, connection)
