"""The host feed: all hosts as scheduling sees them, then every change of that; and what runs on them.

Both come in one stream, so that whoever hears of the hosts hears of their load. Hosts are resumed from a revision;
loads are told anew at the beginning of each stream, and then within a second of their change, the newest only.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc

from protonova.conductor.v1 import host_pb2 as pb
from protonova.services.conductor import tables
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.hosts.loads import HostLoads
from protonova.services.runtime.feeds import Feed, SnapshotEnd


class HostWatching:
    def __init__(self, cell: Cell, stopping: threading.Event) -> None:
        self._feed = Feed(cell.db, tables.feed_tables, tables.HOST_TOPIC, cell.hosts.states)
        self._cell = cell
        self._loads = HostLoads(cell.db, cell.hosts, stopping)
        self._stopping = stopping

    def stop(self) -> None:
        self._loads.stop()

    def watch(
        self, request: pb.WatchHostsRequest, call: grpc.ServicerContext
    ) -> Iterator[pb.WatchHostsResponse]:
        told = _Told(self._loads)
        ready = False
        if request.resume_revision:
            ready = self._loads.ready(call.is_active)
            told.hosts = self._cell.db.read(self._cell.hosts.node_ids)
        for change in self._feed.watch(request.resume_revision, self._stopping, call.is_active, pulse=True):
            if change is None:
                if ready:
                    yield from told.loads()
            elif isinstance(change, SnapshotEnd):
                ready = self._loads.ready(call.is_active)
                yield from told.loads()
                yield pb.WatchHostsResponse(snapshot_end=True, revision=change.revision)
            elif change.value is not None:
                told.hosts[change.value.host] = change.value.node_id
                yield pb.WatchHostsResponse(host=change.value, revision=change.revision)
            else:
                yield pb.WatchHostsResponse(deleted_node_id=change.key, revision=change.revision)


class _Told:
    """What one watcher knows: node ids by host, and which loads."""

    def __init__(self, loads: HostLoads) -> None:
        self.hosts: dict[str, str] = {}
        self._loads = loads
        self._seen = 0
        # Of hosts it has not been told of yet.
        self._waiting: dict[str, pb.HostLoad] = {}

    def loads(self) -> Iterator[pb.WatchHostsResponse]:
        """Those that are new to it."""
        self._seen, changed = self._loads.since(self._seen)
        self._waiting.update(changed)
        for host in [host for host in self._waiting if host in self.hosts]:
            load = self._waiting.pop(host)
            load.node_id = self.hosts[host]
            yield pb.WatchHostsResponse(load=load)
