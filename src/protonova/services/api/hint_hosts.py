"""Where the servers are that a request's scheduler hints name.

Hints name servers by id, of whatever project; one that is unknown, gone, or on no host yet is on no host. Each cell
is asked once; a cell that does not answer is waited for, because a server kept apart from another must not land
beside it for want of an answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from protonova.conductor.v1 import server_pb2 as conductor_pb
from protonova.scheduler.v1.scheduler_pb2 import RequestSpec
from protonova.services.api import tables
from protonova.services.api.cells import Cells
from protonova.services.runtime.database import Database

_HINTS = ("same_host", "different_host")
_mappings = tables.instance_mappings
_AT_ONCE = 500


def fill(spec: RequestSpec, db: Database, cells: Cells, patience: float) -> None:
    """Sets `hint_hosts`. Raises transient errors of cells."""
    spec.hint_hosts.clear()
    named = _named(spec)
    for start in range(0, len(named), _AT_ONCE):
        for cell_id, server_ids in _by_cell(db, named[start : start + _AT_ONCE]).items():
            conductor = cells.conductor(cell_id)
            request = conductor_pb.ListServersRequest(page_size=len(server_ids))
            request.filter.server_ids.extend(server_ids)
            answer = conductor.call(conductor.servers.ListServers, request, patience)
            spec.hint_hosts.update({server.id: server.host for server in answer.servers if server.host})


def _named(spec: RequestSpec) -> list[str]:
    """Ids of servers, each once."""
    found: list[str] = []
    for hint in _HINTS:
        if hint in spec.scheduler_hints.fields:
            value = spec.scheduler_hints.fields[hint]
            found.extend(each.string_value for each in (value, *value.list_value.values))
    return list(dict.fromkeys(filter(None, found)))


def _by_cell(db: Database, server_ids: Sequence[str]) -> dict[str, list[str]]:
    query = select(_mappings.c.id, _mappings.c.cell_id).where(
        _mappings.c.id.in_(server_ids), _mappings.c.cell_id.is_not(None), _mappings.c.deleted_at.is_(None)
    )
    found: dict[str, list[str]] = {}
    for row in db.read(lambda connection: connection.execute(query).all()):
        found.setdefault(row.cell_id, []).append(row.id)
    return found
