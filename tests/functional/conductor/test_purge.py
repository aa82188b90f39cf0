"""Servers that were deleted long ago: what is forgotten of them, and what never is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from protonova.common.v1 import upkeep_pb2
from protonova.conductor.v1 import server_pb2
from protonova.services.conductor import tables
from tests.functional.conductor.test_power import idle, stop
from tests.support.conductor import Conductor, Edges

# Whatever has ended has ended so long ago.
AT_ONCE = 1e-9
_OPERATIONS, _EVENTS = tables.operation_tables.operations, tables.operation_tables.events


@pytest.fixture
def keeping(database_url: str, tmp_path: Path, edges: Edges) -> Iterator[Callable[[float], Conductor]]:
    """Begins a conductor that keeps what has ended for some days."""
    begun: list[Conductor] = []

    def begin(days: float) -> Conductor:
        begun.append(Conductor(tmp_path, edges, database_url, keep_deleted_days=days))
        begun[-1].report("host1")
        return begun[-1]

    yield begin
    for conductor in begun:
        conductor.close()


def purge(cell: Conductor) -> int:
    """How many servers it forgets."""
    done = cell.upkeep.RunUpkeep(upkeep_pb2.RunUpkeepRequest(name="purge-deleted"))
    return done.upkeep.last_count


def delete(cell: Conductor, server_id: str) -> None:
    cell.servers.DeleteServer(server_pb2.DeleteServerRequest(id=server_id))
    cell.wait_gone(server_id)
    for operation in cell.engine.list(subject=server_id):
        cell.engine.wait(operation.id, 20)


def subjects(cell: Conductor) -> set[str]:
    return set(
        cell.cell.db.read(lambda connection: connection.scalars(sa.select(_OPERATIONS.c.subject)).all())
    )


def events_of_nothing(cell: Conductor) -> int:
    """Events whose operation is not there."""
    lost = ~sa.exists().where(_OPERATIONS.c.id == _EVENTS.c.operation_id)
    count = sa.select(sa.func.count()).select_from(_EVENTS).where(lost)
    return int(cell.cell.db.read(lambda connection: connection.scalar(count)) or 0)


def deleted(cell: Conductor) -> set[str]:
    request = server_pb2.ListServersRequest(page_size=100)
    request.filter.deleted = True
    return {server.id for server in cell.servers.ListServers(request).servers}


def test_what_is_deleted_goes_with_all_that_was_done_to_it(keeping):
    cell = keeping(AT_ONCE)
    gone, stays = cell.boot(), cell.boot()
    stop(cell, stays.id)
    cell.wait(stays.id, idle)
    delete(cell, gone.id)
    assert deleted(cell) == {gone.id}
    assert {gone.id, stays.id} <= subjects(cell)
    assert purge(cell) == 1
    assert deleted(cell) == set()
    assert subjects(cell) == {stays.id}
    assert len(cell.engine.list(subject=stays.id)) == 2
    assert events_of_nothing(cell) == 0
    assert cell.get(stays.id).id == stays.id
    assert purge(cell) == 0


@pytest.mark.parametrize("days", [0, 1])
def test_it_is_kept_until_its_time_is_over(keeping, days):
    cell = keeping(days)
    server = cell.boot()
    delete(cell, server.id)
    assert purge(cell) == 0
    assert deleted(cell) == {server.id}
    assert server.id in subjects(cell)
