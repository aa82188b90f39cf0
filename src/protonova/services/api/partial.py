"""What is told of servers whose cell does not answer: the few facts kept with their mapping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select

from protonova.common.v1.server_pb2 import Server
from protonova.common.v1.server_query_pb2 import ServerFilter
from protonova.services.api import tables, times
from protonova.services.api.mappings import not_found
from protonova.services.runtime.database import Database

_mappings = tables.instance_mappings
# At most so many of a silent cell's servers are looked at for one list.
_MOST = 10_000


class Partial:
    def __init__(self, db: Database) -> None:
        self._db = db

    def get(self, server_id: str) -> Server:
        """Raises SERVER_NOT_FOUND."""
        query = select(_mappings.c.summary, _mappings.c.cell_id).where(_mappings.c.id == server_id)
        row = self._db.read(lambda connection: connection.execute(query).first())
        if row is None:
            raise not_found(server_id)
        return _message(row)

    def of_cells(self, cell_ids: Sequence[str], wanted: ServerFilter, after: Server | None) -> list[Server]:
        """The newest first; from `after` on, if that is given."""
        query = select(_mappings.c.summary, _mappings.c.cell_id).where(
            _mappings.c.cell_id.in_(list(cell_ids)), _mappings.c.deleted_at.is_(None)
        )
        if wanted.project_id:
            query = query.where(_mappings.c.project_id == wanted.project_id)
        if wanted.server_ids:
            query = query.where(_mappings.c.id.in_(list(wanted.server_ids)))
        if after is not None:
            query = query.where(_mappings.c.created_at <= times.micros(after.created_at))
        query = query.order_by(_mappings.c.created_at.desc(), _mappings.c.id.desc()).limit(_MOST)
        return [_message(row) for row in self._db.read(lambda connection: connection.execute(query).all())]


def _message(row: Row[Any, Any]) -> Server:
    server = Server.FromString(row.summary)
    server.cell_id = row.cell_id or ""
    return server
