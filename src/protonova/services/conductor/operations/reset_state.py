"""The end of whatever is done to a server, on an operator's word.

The server's state is set in the transaction that begins this operation; what was under way gives way at its next
commit, and commits nothing any more. The operation itself only makes sure of that: it begins when all before it
have ended, and forgets what they had kept for later steps.
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from protonova.api.v1 import server_pb2 as api_pb2
from protonova.services.conductor import actions
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import build as building
from protonova.services.runtime.operations import Kind, Outcome, Run, Step


class TakeQuota(Step):
    """A server that was deleted softly is one again, which its owner's limits do not forbid."""

    name = "quota"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return bool(run.payload["soft_deleted"])

    def do(self, run: Run) -> None:
        self._cell.outside.api.ChargeServerQuota(
            api_pb2.ChargeServerQuotaRequest(id=run.subject, beyond_limits=True)
        )


class Reset(Step):
    name = "reset"
    event = "compute_reset_state"
    pure = True

    def do(self, run: Run) -> Outcome:
        def apply(connection: Connection) -> None:
            if run.payload["launched"]:
                building.forget(connection, run.subject)

        return Outcome(apply=apply)


class ResetState(Kind):
    name = actions.RESET_STATE.operation

    def __init__(self, cell: Cell) -> None:
        self.steps = [Reset(), TakeQuota(cell)]
