"""Places: the host each member of a server group has been given.

A place is given before its server is claimed there. All places of a group are looked at in the transaction that
adds to them, under the group's row: so the policy holds after every commit, whoever decides at the same time.
Only members can have places; of one that has left meanwhile nothing is kept, so nothing is left over.

A member on its way from one host to another has a place on each: the policy then holds whichever way its move ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sqlalchemy import Connection, delete, insert, select

from protonova.api.v1 import server_group_pb2 as pb
from protonova.common.v1 import server_group_pb2 as policies
from protonova.services.api import server_groups, tables
from protonova.services.runtime import errors

_groups, _members, _places = tables.server_groups, tables.server_group_members, tables.server_group_places


def read(connection: Connection, group_id: str) -> pb.GetServerGroupPlacesResponse:
    """Raises GROUP_NOT_FOUND."""
    group = connection.execute(select(_groups).where(_groups.c.id == group_id)).first()
    if group is None:
        raise server_groups.not_found(group_id)
    return pb.GetServerGroupPlacesResponse(
        policy=group.policy,
        max_server_per_host=group.max_server_per_host or 1,
        generation=group.generation,
        places=[
            pb.MemberPlace(server_id=server_id, host=host)
            for server_id, host in sorted(_of_group(connection, group.number))
        ],
    )


def change(connection: Connection, request: pb.PlaceServerGroupMembersRequest) -> int:
    """Returns the group's generation. Raises GROUP_NOT_FOUND, GROUP_MOVED_ON, GROUP_POLICY_VIOLATED."""
    group = server_groups.hold(connection, request.id)
    named = {place.server_id for place in request.places} | set(request.clear_server_ids)
    members = set(
        connection.scalars(
            select(_members.c.server_id).where(
                _members.c.group_number == group.number, _members.c.server_id.in_(named)
            )
        )
    )
    before = _of_group(connection, group.number)
    given = {(place.server_id, place.host) for place in request.places if place.server_id in members}
    after = {place for place in before if place[0] not in named} | given
    if after == before:
        return int(group.generation)
    if request.generation not in (0, group.generation):
        raise errors.Aborted(
            f"The members of server group {request.id} have got other hosts meanwhile.",
            reason="GROUP_MOVED_ON",
            group_id=request.id,
        )
    # What is only given back is never refused, whatever is left.
    if given - before:
        _check(group.policy, group.max_server_per_host or 1, after, given - before, request.id)
    connection.execute(
        delete(_places).where(_places.c.group_number == group.number, _places.c.server_id.in_(named))
    )
    if given:
        connection.execute(
            insert(_places),
            [
                {"group_number": group.number, "server_id": server_id, "host": host}
                for server_id, host in sorted(given)
            ],
        )
    server_groups.moved(connection, group.number)
    return int(group.generation) + 1


def _of_group(connection: Connection, number: int) -> set[tuple[str, str]]:
    query = select(_places.c.server_id, _places.c.host).where(_places.c.group_number == number)
    return {(server_id, host) for server_id, host in connection.execute(query)}


def _check(
    policy: int, most: int, places: Iterable[tuple[str, str]], new: Iterable[tuple[str, str]], group_id: str
) -> None:
    """Whether the policy allows these places, of which some are new."""
    everywhere = set(places)
    on_host = Counter(host for _, host in everywhere)
    for server_id, host in sorted(new):
        apart = policy == policies.SERVER_GROUP_POLICY_AFFINITY and any(
            other != server_id and elsewhere != host for other, elsewhere in everywhere
        )
        crowded = policy == policies.SERVER_GROUP_POLICY_ANTI_AFFINITY and on_host[host] > most
        if apart or crowded:
            raise errors.FailedPrecondition(
                f"The policy of server group {group_id} forbids host {host}.",
                reason="GROUP_POLICY_VIOLATED",
                group_id=group_id,
                host=host,
            )
