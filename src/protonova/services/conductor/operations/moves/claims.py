"""What a server on the move holds in placement, and where it is in its group.

Until a destination is chosen the server's own consumer holds its host. The scheduler claims the destination under
the migration's id; then, in one transaction of placement, the two change over: the server holds its destination,
the migration holds what the server held. So whatever happens, both hosts' books are right, and what is to be given
back stands under an id of its own.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable

from protonova.api.v1 import migration_pb2 as api_pb2
from protonova.api.v1 import server_group_pb2
from protonova.common.v1.flavor_pb2 import Flavor
from protonova.common.v1.migration_pb2 import Migration
from protonova.common.v1.resources_pb2 import AllocationSet
from protonova.common.v1.server_pb2 import Server
from protonova.placement.v1 import allocation_pb2 as pb
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations.claim import CONSUMER_TYPE, release_claims
from protonova.services.runtime import errors

MIGRATION_TYPE = "MIGRATION"


def held(cell: Cell, consumer_id: str) -> AllocationSet:
    """Empty for one that holds nothing."""
    answer = cell.outside.allocations.GetAllocations(pb.GetAllocationsRequest(consumer_id=consumer_id))
    return answer.consumer.allocations


def assign(cell: Cell, server: Server, migration_id: str, own: AllocationSet, other: AllocationSet) -> None:
    """What the server holds from now on and what its migration does, both at once."""
    cell.outside.allocations.ReplaceAllocations(
        pb.ReplaceAllocationsRequest(
            consumers=[
                _consumer(server, server.id, CONSUMER_TYPE, own),
                _consumer(server, migration_id, MIGRATION_TYPE, other),
            ]
        )
    )


def claim(cell: Cell, server: Server, migration_id: str, wanted: AllocationSet) -> None:
    """Claims a destination under the migration's id, in place of what that holds."""
    cell.outside.allocations.ReplaceAllocations(
        pb.ReplaceAllocationsRequest(consumers=[_consumer(server, migration_id, MIGRATION_TYPE, wanted)])
    )


def release(cell: Cell, migration_id: str) -> None:
    release_claims(cell, migration_id)


def place(cell: Cell, server: Server, hosts: Iterable[str]) -> None:
    """The hosts on which the server's group, if there is one, has it. Raises GROUP_POLICY_VIOLATED."""
    for group_id in server.server_group_ids:
        request = server_group_pb2.PlaceServerGroupMembersRequest(id=group_id)
        for host in sorted(set(hosts)):
            request.places.add(server_id=server.id, host=host)
        try:
            cell.outside.groups.PlaceServerGroupMembers(request)
        except errors.NotFound:
            # Its servers are in no group any more.
            continue


def settle_usage(cell: Cell, migration: Migration, flavor: Flavor) -> None:
    """What the server counts for in its project's quota once the move is over."""
    if migration.old_flavor.id == migration.new_flavor.id:
        return
    try:
        cell.outside.usage.SettleServerUsage(
            api_pb2.SettleServerUsageRequest(
                server_id=migration.server_id,
                migration_id=migration.id,
                flavor=flavor,
            )
        )
    except errors.NotFound:
        # The server is gone, and its quota with it.
        return


def kept(claims: AllocationSet) -> str:
    """As an operation's memory holds it."""
    return base64.b64encode(claims.SerializeToString()).decode()


def recalled(text: str) -> AllocationSet:
    return AllocationSet.FromString(base64.b64decode(text))


def _consumer(server: Server, consumer_id: str, kind: str, claims: AllocationSet) -> pb.ConsumerAllocations:
    return pb.ConsumerAllocations(
        consumer_id=consumer_id,
        allocations=claims,
        project_id=server.project_id,
        user_id=server.user_id,
        consumer_type=kind,
    )
