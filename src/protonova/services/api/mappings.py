"""Where servers are: which cell has a server, or its build request while none has.

A row is written with the build request, gets its cell once, and is marked deleted once, in the transaction that
gives its quota back. Only a move between cells changes the cell of a server, and the cell that has let it go does
not know it any more; so a cell may be remembered, and is looked up anew when it does not know the server. That a
server is unknown is never remembered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection, bindparam, delete, func, select, update

from protonova.common.v1.server_pb2 import TASK_STATE_DELETING, Server
from protonova.services.api import move_charges, server_groups, tables, usage
from protonova.services.runtime import context as contexts
from protonova.services.runtime import errors, feeds
from protonova.services.runtime.database import Database, now

T = TypeVar("T")
_mappings, _builds = tables.instance_mappings, tables.build_requests

_FIND = (
    select(
        _mappings.c.project_id,
        _mappings.c.cell_id,
        _mappings.c.reservation_id,
        _mappings.c.delete_requested_at,
        _builds.c.server,
        _builds.c.cell_id.label("target"),
    )
    .select_from(_mappings.outerjoin(_builds, _builds.c.id == _mappings.c.id))
    .where(_mappings.c.id == bindparam("of_id"))
)


@dataclass(frozen=True, slots=True)
class Place:
    """`cell_id` is empty while no cell has the server; then `building` is its build request, unless it is gone."""

    server_id: str
    project_id: str
    cell_id: str
    reservation_id: str = ""
    building: Server | None = None
    handing_over: bool = False


class Mappings:
    """Finds servers, by memory where possible."""

    def __init__(self, db: Database, size: int) -> None:
        self._db = db
        self._size = size
        self._lock = threading.Lock()
        self._remembered: dict[str, Place] = {}

    def locate(self, server_id: str, *, include_gone: bool = False) -> Place:
        """A server the caller may know of. Raises SERVER_NOT_FOUND.

        `include_gone` also finds those that were deleted without ever having had a cell.
        """
        place = self._remembered.get(server_id) or self._look_up(server_id)
        caller = contexts.current()
        if place is None or not (caller.is_admin or place.project_id == caller.project_id):
            raise not_found(server_id)
        if not place.cell_id and place.building is None and not include_gone:
            raise not_found(server_id)
        return place

    def at(self, place: Place, ask: Callable[[str], T]) -> T:
        """What a server's cell says when it is asked, or, where that has let the server go, the cell it is in now.
        `ask` is given the cell's id."""
        try:
            return ask(place.cell_id)
        except errors.NotFound as error:
            if error.reason != "SERVER_NOT_FOUND":
                raise
            with self._lock:
                self._remembered.pop(place.server_id, None)
            newer = self._look_up(place.server_id)
            if newer is None or newer.cell_id in ("", place.cell_id):
                raise
            return ask(newer.cell_id)

    def _look_up(self, server_id: str) -> Place | None:
        place = self._db.read(lambda connection: find(connection, server_id))
        if place is not None and place.cell_id:
            with self._lock:
                if len(self._remembered) >= self._size:
                    for oldest in list(self._remembered)[: max(1, self._size // 10)]:
                        del self._remembered[oldest]
                self._remembered[server_id] = place
        return place


def find(connection: Connection, server_id: str) -> Place | None:
    """Mapping and build request in one statement, so that a server on its way to a cell is never in neither."""
    row = connection.execute(_FIND, {"of_id": server_id}).first()
    if row is None:
        return None
    building = None
    if row.cell_id is None and row.server is not None:
        building = as_shown(row.server, deleting=row.delete_requested_at is not None)
    return Place(
        server_id,
        row.project_id,
        row.cell_id or "",
        row.reservation_id,
        building,
        handing_over=row.target is not None,
    )


def switch(connection: Connection, server_id: str, from_cell_id: str, to_cell_id: str) -> None:
    """The server is in another cell from now on. Raises SERVER_NOT_FOUND, SERVER_IN_OTHER_CELL."""
    living = (_mappings.c.id == server_id, _mappings.c.deleted_at.is_(None))
    switched = connection.execute(
        update(_mappings)
        .where(*living, _mappings.c.cell_id == from_cell_id)
        .values(cell_id=to_cell_id, switched_at=now())
    )
    if switched.rowcount == 1:
        return
    there = connection.scalar(select(_mappings.c.cell_id).where(*living))
    if there is None:
        raise not_found(server_id)
    if there != to_cell_id:
        raise errors.FailedPrecondition(
            f"Server {server_id} is in cell {there}.", reason="SERVER_IN_OTHER_CELL", server_id=server_id
        )


def last_switch(connection: Connection) -> int:
    """When any server was last switched from one cell to another."""
    return connection.scalar(select(func.max(_mappings.c.switched_at))) or 0


def as_shown(serialized: bytes, *, deleting: bool) -> Server:
    """A build request as users see it."""
    server = Server.FromString(serialized)
    if deleting:
        server.task_state = TASK_STATE_DELETING
    return server


def release(connection: Connection, server_ids: Sequence[str], now: int) -> list[str]:
    """Ends mappings and gives their quota back, each exactly once however often it is called; their build
    requests go with them, and they leave their groups. Returns the ids that were ended by this call."""
    rows = connection.execute(
        select(
            _mappings.c.id,
            _mappings.c.project_id,
            _mappings.c.user_id,
            _mappings.c.vcpus,
            _mappings.c.memory_mb,
            _mappings.c.uncharged,
        )
        .where(_mappings.c.id.in_(list(server_ids)), _mappings.c.deleted_at.is_(None))
        .order_by(_mappings.c.id)
        .with_for_update()
    ).all()
    ended = []
    totals: dict[tuple[str, str], dict[str, int]] = {}
    for row in rows:
        marked = connection.execute(
            update(_mappings)
            .where(_mappings.c.id == row.id, _mappings.c.deleted_at.is_(None))
            .values(deleted_at=now)
        )
        if marked.rowcount != 1:
            continue
        ended.append(row.id)
        if row.uncharged:
            continue
        total = totals.setdefault((row.project_id, row.user_id), dict.fromkeys(usage.COUNTED, 0))
        for resource, amount in usage.per_server(row.vcpus, row.memory_mb).items():
            total[resource] += amount
    for owner, amounts in move_charges.remove_of(connection, ended):
        total = totals.setdefault(owner, dict.fromkeys(usage.COUNTED, 0))
        for resource, amount in amounts.items():
            total[resource] += amount
    server_groups.leave(connection, ended)
    usage.give_back(connection, totals)
    remove_builds(connection, ended)
    return ended


def remove_builds(connection: Connection, server_ids: Sequence[str]) -> list[str]:
    """Returns the ids of the build requests that were there."""
    ids = list(server_ids)
    there = list(connection.scalars(select(_builds.c.id).where(_builds.c.id.in_(ids)))) if ids else []
    if there:
        connection.execute(delete(_builds).where(_builds.c.id.in_(there)))
    return there


def publish_builds(connection: Connection, server_ids: Iterable[str], *, deleted: bool = False) -> None:
    """Tells watchers; the last statement of its transaction."""
    if ids := list(server_ids):
        feeds.publish(connection, tables.BUILDS_TOPIC, ids, deleted=deleted)


def not_found(server_id: str) -> errors.NotFound:
    return errors.NotFound(
        f"Instance {server_id} could not be found.", reason="SERVER_NOT_FOUND", server_id=server_id
    )
