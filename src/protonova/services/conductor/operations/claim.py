"""The claim step of a build: moves what the server holds in placement to the next host.

The scheduler has claimed the first destination before the build began, so the first round needs no claim. The undo
of this step is the last of a build that failed: the server then holds nothing any more, on whatever host.
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import Server
from protonova.placement.v1 import allocation_pb2
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import build as building
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Outcome, Run, Step

CONSUMER_TYPE = "INSTANCE"


class Claim(Step):
    name = "claim"

    def __init__(self, cell: Cell) -> None:
        super().__init__(undo_timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return building.attempt(run) > 0

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, build = cell.db.read(
            lambda c: (cell.servers.get(c, run.subject), building.load(c, run.subject))
        )
        chosen = building.destination(build, run)
        cell.outside.allocations.ReplaceAllocations(
            allocation_pb2.ReplaceAllocationsRequest(
                consumers=[
                    allocation_pb2.ConsumerAllocations(
                        consumer_id=server.id,
                        allocations=chosen.allocations,
                        project_id=server.project_id,
                        user_id=server.user_id,
                        consumer_type=CONSUMER_TYPE,
                    )
                ]
            )
        )

        def apply(connection: Connection) -> None:
            def alter(changed: Server) -> None:
                changed.host = chosen.host
                changed.node = chosen.node
                changed.availability_zone = chosen.availability_zone
                changed.task_state = building.task_state_before("networking", build, changed)

            cell.servers.change(connection, run.subject, alter)

        return Outcome(apply=apply)

    def undo(self, run: Run) -> None:
        release_claims(self._cell, run.subject)


def release_claims(cell: Cell, server_id: str) -> None:
    """A server that holds nothing is fine."""
    try:
        cell.outside.allocations.DeleteAllocations(
            allocation_pb2.DeleteAllocationsRequest(consumer_id=server_id)
        )
    except errors.NotFound:
        return
