"""The host feed: all hosts as scheduling sees them, then every change of that."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc

from protonova.conductor.v1 import host_pb2 as pb
from protonova.services.conductor import tables
from protonova.services.conductor.cell import Cell
from protonova.services.runtime.feeds import Feed, SnapshotEnd


class HostWatching:
    def __init__(self, cell: Cell, stopping: threading.Event) -> None:
        self._feed = Feed(cell.db, tables.feed_tables, tables.HOST_TOPIC, cell.hosts.states)
        self._stopping = stopping

    def watch(
        self, request: pb.WatchHostsRequest, call: grpc.ServicerContext
    ) -> Iterator[pb.WatchHostsResponse]:
        for change in self._feed.watch(request.resume_revision, self._stopping, call.is_active):
            if isinstance(change, SnapshotEnd):
                yield pb.WatchHostsResponse(snapshot_end=True, revision=change.revision)
            elif change.value is not None:
                yield pb.WatchHostsResponse(host=change.value, revision=change.revision)
            else:
                yield pb.WatchHostsResponse(deleted_node_id=change.key, revision=change.revision)
