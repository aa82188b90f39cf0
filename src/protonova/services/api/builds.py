"""Build requests: servers that no cell has yet.

A row lives from the acceptance of a create request until a cell has taken the server over, or until the server is
deleted. Once `cell_id` is set, the build operation is handing the server over and only it may take the row away;
a deletion is then noted in the mapping and honoured after the hand-over. A server that got no host stays here, in
error, until it is deleted.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from protonova.common.v1 import server_pb2
from protonova.common.v1.server_pb2 import Fault, Server
from protonova.services.api import mappings, server_groups, tables, times
from protonova.services.runtime import errors

_builds, _mappings = tables.build_requests, tables.instance_mappings

# The fields shown of a server whose cell does not answer.
_SUMMARY = (
    "id",
    "project_id",
    "user_id",
    "flavor",
    "image",
    "availability_zone",
    "created_at",
    "server_group_ids",
)
_ALL = select(_builds.c.server, _mappings.c.delete_requested_at).join(
    _mappings, _mappings.c.id == _builds.c.id
)
_OF_PROJECT = _ALL.where(_builds.c.project_id == bindparam("of_project"))


class Deletion(enum.Enum):
    """What came of the deletion of a build request."""

    DONE = "done"
    NOTED = "noted"
    # It is no build request any more: ask its cell.
    PLACED = "placed"


def add(connection: Connection, servers: Sequence[Server], operation_id: str) -> None:
    """Writes mappings and build requests of new servers."""
    rows = [
        {
            "id": server.id,
            "project_id": server.project_id,
            "reservation_id": server.reservation_id,
            "created_at": times.micros(server.created_at),
        }
        for server in servers
    ]
    connection.execute(
        insert(_mappings),
        [
            {
                **row,
                "user_id": server.user_id,
                "vcpus": server.flavor.vcpus,
                "memory_mb": server.flavor.memory_mb,
                "summary": _summary(server).SerializeToString(),
            }
            for row, server in zip(rows, servers, strict=True)
        ],
    )
    connection.execute(
        insert(_builds),
        [
            {
                **row,
                "operation_id": operation_id,
                "vm_state": server.vm_state,
                "server": server.SerializeToString(),
                "generation": server.generation,
            }
            for row, server in zip(rows, servers, strict=True)
        ],
    )


def waiting(connection: Connection, server_ids: Iterable[str]) -> dict[str, str]:
    """Those of the servers that are still to be built, with the cell each is being handed to, if any."""
    rows = connection.execute(
        select(_builds.c.id, _builds.c.cell_id).where(
            _builds.c.id.in_(list(server_ids)), _builds.c.vm_state == server_pb2.VM_STATE_BUILDING
        )
    )
    return {row.id: row.cell_id or "" for row in rows}


def load(connection: Connection, keys: Iterable[str]) -> dict[str, Server]:
    """Build requests as users see them; also for the feed."""
    rows = connection.execute(
        select(_builds.c.id, _builds.c.server, _mappings.c.delete_requested_at)
        .join(_mappings, _mappings.c.id == _builds.c.id)
        .where(_builds.c.id.in_(list(keys)))
    )
    return {
        row.id: mappings.as_shown(row.server, deleting=row.delete_requested_at is not None) for row in rows
    }


def of_project(connection: Connection, project_id: str) -> list[Server]:
    """All build requests, of one project or (empty) of all."""
    rows = (
        connection.execute(_OF_PROJECT, {"of_project": project_id})
        if project_id
        else connection.execute(_ALL)
    )
    return [mappings.as_shown(row.server, deleting=row.delete_requested_at is not None) for row in rows]


def aim(connection: Connection, targets: Mapping[str, str]) -> None:
    """From now on these servers are being handed to a cell; those deleted meanwhile are passed over."""
    for server_id, cell_id in sorted(targets.items()):
        connection.execute(
            update(_builds)
            .where(_builds.c.id == server_id, _builds.c.vm_state == server_pb2.VM_STATE_BUILDING)
            .values(cell_id=cell_id)
        )


def settle(connection: Connection, homes: Mapping[str, str]) -> set[str]:
    """These servers are in their cells; returns those of them whose deletion was noted on the way."""
    for server_id, cell_id in sorted(homes.items()):
        connection.execute(update(_mappings).where(_mappings.c.id == server_id).values(cell_id=cell_id))
    noted = connection.scalars(
        select(_mappings.c.id).where(
            _mappings.c.id.in_(list(homes)),
            _mappings.c.delete_requested_at.is_not(None),
            _mappings.c.deleted_at.is_(None),
        )
    ).all()
    mappings.remove_builds(connection, list(homes))
    mappings.publish_builds(connection, homes, deleted=True)
    return set(noted)


def fail(connection: Connection, faults: Mapping[str, Fault], now: int) -> None:
    """These servers get no host: they stay, in error, with the fault that says why, and have no place in their
    group. Those whose deletion was noted are released instead."""
    flagged = set(
        connection.scalars(
            select(_mappings.c.id).where(
                _mappings.c.id.in_(list(faults)), _mappings.c.delete_requested_at.is_not(None)
            )
        )
    )
    # Groups before build requests, as everywhere.
    server_groups.vacate(connection, sorted(faults))
    failed = []
    for server_id, fault in sorted(faults.items()):
        if server_id in flagged:
            continue

        def give_up(server: Server, fault: Fault = fault) -> None:
            server.vm_state = server_pb2.VM_STATE_ERROR
            server.task_state = server_pb2.TASK_STATE_UNSPECIFIED
            server.fault.CopyFrom(fault)
            server.fault.created_at.CopyFrom(times.stamp(now))

        if change(connection, server_id, give_up, now, while_handed_over=True) is not None:
            failed.append(server_id)
    if gone := mappings.release(connection, sorted(flagged), now):
        mappings.publish_builds(connection, gone, deleted=True)
    mappings.publish_builds(connection, failed)


def change(
    connection: Connection,
    server_id: str,
    alter: Callable[[Server], None],
    now: int,
    *,
    while_handed_over: bool = False,
) -> Server | None:
    """Alters a build request and raises its generation; None when there is none (any more)."""
    row = connection.execute(
        select(_builds.c.server, _builds.c.generation, _builds.c.cell_id)
        .where(_builds.c.id == server_id)
        .with_for_update()
    ).first()
    if row is None or (row.cell_id is not None and not while_handed_over):
        return None
    server = Server.FromString(row.server)
    alter(server)
    server.generation = row.generation + 1
    server.updated_at.CopyFrom(times.stamp(now))
    changed = connection.execute(
        update(_builds)
        .where(_builds.c.id == server_id, _builds.c.generation == row.generation)
        .values(
            server=server.SerializeToString(),
            generation=server.generation,
            vm_state=server.vm_state,
            cell_id=None,
        )
    )
    if changed.rowcount != 1:
        raise errors.Aborted("The build request changed meanwhile.", reason="CONCURRENT_UPDATE")
    return server


def end(connection: Connection, server_id: str, now: int) -> Deletion:
    """Deletes a build request, or notes that it is to be deleted once its cell has it."""
    if connection.execute(
        delete(_builds).where(_builds.c.id == server_id, _builds.c.cell_id.is_(None))
    ).rowcount:
        mappings.release(connection, [server_id], now)
        mappings.publish_builds(connection, [server_id], deleted=True)
        return Deletion.DONE
    noted = connection.execute(
        update(_mappings)
        .where(
            _mappings.c.id == server_id,
            _mappings.c.cell_id.is_(None),
            _mappings.c.deleted_at.is_(None),
            _mappings.c.delete_requested_at.is_(None),
        )
        .values(delete_requested_at=now)
    )
    if noted.rowcount:
        mappings.publish_builds(connection, [server_id])
        return Deletion.NOTED
    return Deletion.PLACED


def _summary(server: Server) -> Server:
    summary = Server(partial=True)
    for field in _SUMMARY:
        value = getattr(server, field)
        if field in ("flavor", "image", "created_at"):
            getattr(summary, field).CopyFrom(value)
        elif field == "server_group_ids":
            summary.server_group_ids.extend(value)
        else:
            setattr(summary, field, value)
    return summary
