"""The server feed: every committed change of the servers that match a filter, beginning with a snapshot.

The filter is the one of lists, asked again for each change; a server that matches no longer is told as gone. A
watcher is told only of the end of what it could have seen: servers it was sent, or, when it resumes and nobody
knows what it was sent, servers of its project.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import Server
from protonova.conductor.v1 import server_pb2 as pb
from protonova.services.conductor import tables
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.servers import query
from protonova.services.runtime.feeds import Feed, SnapshotEnd


class ServerWatching:
    def __init__(self, cell: Cell, stopping: threading.Event) -> None:
        self._cell = cell
        self._stopping = stopping

    def watch(
        self, request: pb.WatchServersRequest, call: grpc.ServicerContext
    ) -> Iterator[pb.WatchServersResponse]:
        """Raises `errors.InvalidArgument` (FILTER_INVALID)."""
        wanted = request.filter
        query.conditions(wanted, self._cell.db.dialect)

        def load(connection: Connection, server_ids: list[str]) -> dict[str, Server]:
            return self._cell.listing.records(connection, wanted, server_ids)

        feed = Feed(self._cell.db, tables.feed_tables, tables.SERVER_TOPIC, load)
        sent: set[str] = set()
        resumed = request.resume_revision > 0
        for change in feed.watch(request.resume_revision, self._stopping, call.is_active):
            if isinstance(change, SnapshotEnd):
                yield pb.WatchServersResponse(snapshot_end=True, revision=change.revision)
            elif change.value is not None:
                sent.add(change.key)
                yield pb.WatchServersResponse(server=change.value, revision=change.revision)
            elif change.key in sent or (resumed and self._is_of(wanted.project_id, change.key)):
                sent.discard(change.key)
                yield pb.WatchServersResponse(deleted_server_id=change.key, revision=change.revision)

    def _is_of(self, project_id: str, server_id: str) -> bool:
        if not project_id:
            return True
        found = sa.select(tables.servers.c.project_id).where(tables.servers.c.id == server_id)
        return self._cell.db.read(lambda connection: connection.scalar(found)) == project_id
