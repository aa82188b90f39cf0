"""The server feeds of all cells and of build requests, as one stream that can be resumed.

The resume token holds how far each source was seen. While a source's snapshot is under way its place in the
token stays at the beginning, so that a watcher cut off in the middle gets all of it again. A server that goes from
a build request to its cell is told by the cell, not as gone.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import contextvars
import functools
import json
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc

from protonova.api.v1 import server_pb2 as pb
from protonova.common.v1.server_pb2 import Server
from protonova.common.v1.server_query_pb2 import ServerFilter
from protonova.conductor.v1 import server_pb2 as conductor_pb
from protonova.services.api import mappings, matching
from protonova.services.api.cells import Cells
from protonova.services.runtime import errors, feeds
from protonova.services.runtime.database import Database

_BUILDS = ""
_WAITING = 1000
_PAUSE = 1.0


@dataclass(frozen=True)
class _Event:
    """What a source told: a server, an id that is gone, the end of its snapshot, or (silent) that it is away."""

    source: str
    revision: int
    server: Server | None = None
    gone: str = ""
    snapshot_end: bool = False
    silent: bool = False


class Watching:
    def __init__(
        self, db: Database, cells: Cells, builds: feeds.Feed[Server], stopping: threading.Event
    ) -> None:
        self._db = db
        self._cells = cells
        self._builds = builds
        self._stopping = stopping

    def watch(
        self, request: pb.WatchServersRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchServersResponse]:
        seen = _read_token(request.resume_token)
        stop = threading.Event()
        if not context.add_callback(stop.set):
            return
        events: queue.Queue[_Event] = queue.Queue(_WAITING)
        sources = _Sources(stop, events)
        try:
            self._begin(sources, request.filter, seen)
            yield from self._told(request, seen, sources, events, stop)
        finally:
            stop.set()
            sources.cancel()

    def _told(
        self,
        request: pb.WatchServersRequest,
        seen: dict[str, int],
        sources: _Sources,
        events: queue.Queue[_Event],
        stop: threading.Event,
    ) -> Iterator[pb.WatchServersResponse]:
        # A token that was given says that the beginning is over.
        waits_for = None if request.resume_token else set(sources.names)
        while not stop.is_set() and not self._stopping.is_set():
            try:
                event = events.get(timeout=_PAUSE)
            except queue.Empty:
                self._begin(sources, request.filter, seen)
                continue
            if not event.silent and (event.snapshot_end or event.revision > 0):
                seen[event.source] = event.revision
            if event.server is not None:
                yield pb.WatchServersResponse(server=event.server, resume_token=_token(seen))
            elif event.gone:
                yield pb.WatchServersResponse(deleted_server_id=event.gone, resume_token=_token(seen))
            elif waits_for is not None:
                waits_for.discard(event.source)
                if not waits_for:
                    waits_for = None
                    yield pb.WatchServersResponse(snapshot_end=True, resume_token=_token(seen))

    def _begin(self, sources: _Sources, wanted: ServerFilter, seen: dict[str, int]) -> None:
        """Follows every source that is not followed yet."""
        sources.follow(_BUILDS, lambda: self._follow_builds(sources, wanted, seen.get(_BUILDS, 0)))
        for cell in self._cells.all():
            listen = functools.partial(self._follow_cell, sources, cell.id, wanted, seen.get(cell.id, 0))
            sources.follow(cell.id, listen)

    def _follow_cell(self, sources: _Sources, cell_id: str, wanted: ServerFilter, revision: int) -> None:
        while not sources.stop.is_set():
            in_snapshot = revision == 0
            try:
                conductor = self._cells.conductor(cell_id)
                question = conductor_pb.WatchServersRequest(filter=wanted, resume_revision=revision)
                with sources.cancelling(conductor.servers.WatchServers(question)) as stream:
                    for message in stream:
                        if message.deleted_server_id and self._went_elsewhere(cell_id, message):
                            continue
                        in_snapshot = in_snapshot and not message.snapshot_end
                        at = 0 if in_snapshot else message.revision
                        revision = at or revision
                        sources.put(_of_cell(cell_id, message, at))
            except errors.Error:
                sources.put(_Event(cell_id, revision, silent=True))
            sources.stop.wait(_PAUSE)

    def _follow_builds(self, sources: _Sources, wanted: ServerFilter, revision: int) -> None:
        admitted = matching.building(wanted)
        in_snapshot = revision == 0
        for change in self._builds.watch(revision, sources.stop):
            if isinstance(change, feeds.SnapshotEnd):
                in_snapshot = False
                sources.put(_Event(_BUILDS, change.revision, snapshot_end=True))
                continue
            at = 0 if in_snapshot else change.revision
            server = change.value
            if change.deleted or server is None:
                if not in_snapshot and self._is_gone(change.key, wanted.project_id):
                    sources.put(_Event(_BUILDS, at, gone=change.key))
            elif admitted is not None and admitted(server):
                sources.put(_Event(_BUILDS, at, server=server))
            elif not in_snapshot and wanted.project_id in ("", server.project_id):
                sources.put(_Event(_BUILDS, at, gone=server.id))

    def _went_elsewhere(self, cell_id: str, message: conductor_pb.WatchServersResponse) -> bool:
        """Whether a cell has let a server go that another one has."""
        place = self._db.read(lambda connection: mappings.find(connection, message.deleted_server_id))
        return place is not None and place.cell_id not in ("", cell_id)

    def _is_gone(self, server_id: str, project_id: str) -> bool:
        """A build request that is no more: has its server gone with it, and does this watcher care?"""
        place = self._db.read(lambda connection: mappings.find(connection, server_id))
        if place is None:
            return not project_id
        return not place.cell_id and place.building is None and project_id in ("", place.project_id)


class _Sources:
    """The threads that listen to the sources of one watcher."""

    def __init__(self, stop: threading.Event, events: queue.Queue[_Event]) -> None:
        self.stop = stop
        self.names: set[str] = set()
        self._events = events
        self._streams: set[Any] = set()
        self._lock = threading.Lock()

    def follow(self, name: str, listen: Callable[[], None]) -> None:
        if name not in self.names:
            self.names.add(name)
            run = contextvars.copy_context().run
            threading.Thread(target=run, args=(listen,), name="watch-servers", daemon=True).start()

    def put(self, event: _Event) -> None:
        """Waits while the watcher is slow, but not for one that has left."""
        while not self.stop.is_set():
            try:
                self._events.put(event, timeout=_PAUSE)
            except queue.Full:
                continue
            return

    @contextlib.contextmanager
    def cancelling(self, stream: Any) -> Iterator[Any]:
        """Cancels a stream when the watcher leaves."""
        with self._lock:
            self._streams.add(stream)
        try:
            if not self.stop.is_set():
                yield stream
            else:
                yield ()
        finally:
            stream.cancel()
            with self._lock:
                self._streams.discard(stream)

    def cancel(self) -> None:
        with self._lock:
            for stream in self._streams:
                stream.cancel()


def _of_cell(cell_id: str, message: conductor_pb.WatchServersResponse, at: int) -> _Event:
    if message.HasField("server"):
        return _Event(cell_id, at, server=message.server)
    if message.HasField("deleted_server_id"):
        return _Event(cell_id, at, gone=message.deleted_server_id)
    return _Event(cell_id, at, snapshot_end=True)


def _token(seen: dict[str, int]) -> str:
    return base64.urlsafe_b64encode(json.dumps(seen, sort_keys=True).encode()).decode()


def _read_token(token: str) -> dict[str, int]:
    if not token:
        return {}
    try:
        seen = json.loads(base64.urlsafe_b64decode(token.encode()))
        return {str(source): int(revision) for source, revision in seen.items()}
    except (binascii.Error, ValueError, AttributeError, TypeError):
        raise errors.InvalidArgument(
            "The resume token is not one of ours.", reason="RESUME_TOKEN_INVALID"
        ) from None
