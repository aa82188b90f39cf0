"""Server groups as rows: who is in them, and which hosts their members have been given.

Whoever changes members or places of a group holds its row, so that what a policy forbids is judged on all places
there are. The row is taken before any quota counter, so that two transactions cannot wait for each other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from protonova.api.v1.server_group_pb2 import ServerGroup
from protonova.services.api import tables, times, usage
from protonova.services.runtime import errors
from protonova.services.runtime.context import RequestContext

_groups, _members = tables.server_groups, tables.server_group_members

# Groups of which the members' ids are read with one statement.
_AT_ONCE = 500


def get(connection: Connection, group_id: str, project_id: str = "") -> ServerGroup:
    """A group of the project, or (empty) of any. Raises GROUP_NOT_FOUND."""
    return _messages(connection, [_row(connection, group_id, project_id)])[0]


def listing(connection: Connection, project_id: str, limit: int, offset: int) -> list[ServerGroup]:
    """By number; `limit` negative = all."""
    query = select(_groups).order_by(_groups.c.number)
    if project_id:
        query = query.where(_groups.c.project_id == project_id)
    if limit >= 0 or offset:
        # Not every database takes an offset without a limit.
        query = query.limit(limit if limit >= 0 else 2**62).offset(offset)
    return _messages(connection, connection.execute(query).all())


def create(
    connection: Connection, group: ServerGroup, limits: Sequence[tuple[str, int]], now: int
) -> ServerGroup:
    """Charges the quota of the project and of its user, each with its limit. Raises QUOTA_EXCEEDED."""
    for user_id, limit in limits:
        usage.charge(connection, group.project_id, user_id, {"server_groups": 1}, {"server_groups": limit})
    connection.execute(
        insert(_groups).values(
            id=group.id,
            project_id=group.project_id,
            user_id=group.user_id,
            name=group.name,
            policy=group.policy,
            max_server_per_host=group.max_server_per_host if group.HasField("max_server_per_host") else None,
            generation=1,
            created_at=now,
        )
    )
    return get(connection, group.id)


def remove(connection: Connection, group_id: str, project_id: str = "") -> None:
    """Its members are in no group any more. Raises GROUP_NOT_FOUND."""
    group = hold(connection, group_id, project_id)
    connection.execute(delete(_groups).where(_groups.c.number == group.number))
    usage.give_back(connection, {(group.project_id, group.user_id): {"server_groups": 1}})


def hold(connection: Connection, group_id: str, project_id: str = "") -> Row[Any]:
    """The group's row, this transaction's alone until its end. Raises GROUP_NOT_FOUND."""
    return _row(connection, group_id, project_id, hold=True)


def join(
    connection: Connection, group_id: str, server_ids: Collection[str], caller: RequestContext, limit: int
) -> None:
    """The caller's new servers become members, as far as its limit of members of one group allows.
    Raises GROUP_NOT_FOUND, QUOTA_EXCEEDED."""
    group = hold(connection, group_id, caller.project_id)
    if limit >= 0:
        own = select(func.count()).where(
            _members.c.group_number == group.number, _members.c.user_id == caller.user_id
        )
        used = int(connection.execute(own).scalar_one())
        if used + len(server_ids) > limit:
            raise usage.exceeded("server_group_members", limit, used, len(server_ids), caller.user_id)
    connection.execute(
        insert(_members),
        [
            {"group_number": group.number, "server_id": server_id, "user_id": caller.user_id}
            for server_id in server_ids
        ],
    )


def leave(connection: Connection, server_ids: Iterable[str]) -> None:
    """Servers that are gone, of any groups or none: their places are given back with them."""
    if ids := list(server_ids):
        _hold_groups_of(connection, ids)
        connection.execute(delete(_members).where(_members.c.server_id.in_(ids)))


def vacate(connection: Connection, server_ids: Iterable[str]) -> None:
    """Servers that got no host: they stay members, and have no place."""
    if ids := list(server_ids):
        _hold_groups_of(connection, ids)
        places = tables.server_group_places
        connection.execute(delete(places).where(places.c.server_id.in_(ids)))


def of_server(connection: Connection, server_id: str) -> list[str]:
    """Ids of the groups a server is in."""
    query = (
        select(_groups.c.id)
        .join(_members, _members.c.group_number == _groups.c.number)
        .where(_members.c.server_id == server_id)
    )
    return list(connection.scalars(query))


def not_found(group_id: str) -> errors.NotFound:
    return errors.NotFound(
        f"Server group {group_id} could not be found.", reason="GROUP_NOT_FOUND", group_id=group_id
    )


def moved(connection: Connection, number: int) -> None:
    """The places of a group have changed."""
    connection.execute(
        update(_groups).where(_groups.c.number == number).values(generation=_groups.c.generation + 1)
    )


def _row(connection: Connection, group_id: str, project_id: str = "", *, hold: bool = False) -> Row[Any]:
    query = select(_groups).where(_groups.c.id == group_id)
    if project_id:
        query = query.where(_groups.c.project_id == project_id)
    row = connection.execute(query.with_for_update() if hold else query).first()
    if row is None:
        raise not_found(group_id)
    return row


def _hold_groups_of(connection: Connection, server_ids: Sequence[str]) -> None:
    """Their places are about to change. Always in the same order."""
    numbers = select(_members.c.group_number).where(_members.c.server_id.in_(server_ids)).distinct()
    for number in sorted(connection.scalars(numbers)):
        moved(connection, number)


def _messages(connection: Connection, rows: Sequence[Row[Any]]) -> list[ServerGroup]:
    members: dict[int, list[str]] = {row.number: [] for row in rows}
    numbers = list(members)
    for start in range(0, len(numbers), _AT_ONCE):
        query = (
            select(_members.c.group_number, _members.c.server_id)
            .where(_members.c.group_number.in_(numbers[start : start + _AT_ONCE]))
            .order_by(_members.c.number)
        )
        for number, server_id in connection.execute(query):
            members[number].append(server_id)
    return [_message(row, members[row.number]) for row in rows]


def _message(row: Row[Any], member_ids: list[str]) -> ServerGroup:
    group = ServerGroup(
        id=row.id,
        number=row.number,
        project_id=row.project_id,
        user_id=row.user_id,
        name=row.name,
        policy=row.policy,
        member_ids=member_ids,
        created_at=times.stamp(row.created_at),
    )
    if row.max_server_per_host is not None:
        group.max_server_per_host = row.max_server_per_host
    return group
