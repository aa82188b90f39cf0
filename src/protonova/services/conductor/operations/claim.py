"""The claim step of a build: moves what the server holds in placement to the next host.

The scheduler has claimed the first destination before the build began, so the first round needs no claim. The undo
of this step is the last of a build that failed: the server then holds nothing any more, on whatever host.

A member of a server group is given its place in the group before the claim, and gives it back after it: so what is
claimed is never where the group's policy forbids it.
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from protonova.api.v1 import server_group_pb2
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
        place(cell, server, chosen.host)
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
        cell = self._cell
        server = cell.db.read(lambda connection: cell.servers.get(connection, run.subject))
        release_claims(cell, server.id)
        place(cell, server, "")


def place(cell: Cell, server: Server, host: str) -> None:
    """Where the group, if there is one, has the server; empty = nowhere. Raises GROUP_POLICY_VIOLATED."""
    for group_id in server.server_group_ids:
        request = server_group_pb2.PlaceServerGroupMembersRequest(id=group_id)
        if host:
            request.places.add(server_id=server.id, host=host)
        else:
            request.clear_server_ids.append(server.id)
        try:
            cell.outside.groups.PlaceServerGroupMembers(request)
        except errors.NotFound:
            # Its servers are in no group any more.
            continue


def release_claims(cell: Cell, server_id: str) -> None:
    """A server that holds nothing is fine."""
    try:
        cell.outside.allocations.DeleteAllocations(
            allocation_pb2.DeleteAllocationsRequest(consumer_id=server_id)
        )
    except errors.NotFound:
        return
