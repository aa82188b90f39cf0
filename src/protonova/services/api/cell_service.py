"""CellService: cells make themselves known; the scheduler and others learn of them by a feed."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
from sqlalchemy import Connection, select

from protonova.api.v1 import cell_pb2 as pb
from protonova.api.v1 import cell_pb2_grpc
from protonova.services.api import cells
from protonova.services.api.cells import Cells
from protonova.services.runtime import errors, feeds
from protonova.services.runtime.database import Database


class CellService(cell_pb2_grpc.CellServiceServicer):
    def __init__(
        self, db: Database, directory: Cells, feed: feeds.Feed[pb.Cell], stopping: threading.Event
    ) -> None:
        self._db = db
        self._directory = directory
        self._feed = feed
        self._stopping = stopping

    def RegisterCell(
        self, request: pb.RegisterCellRequest, context: grpc.ServicerContext
    ) -> pb.RegisterCellResponse:
        for field in ("id", "name", "conductor_target"):
            if not getattr(request.cell, field):
                raise errors.InvalidArgument(f"A cell needs its {field}.", reason="CELL_INVALID", field=field)

        def register(connection: Connection) -> pb.Cell:
            now = connection.execute(select(self._db.now())).scalar_one()
            return cells.register(connection, request.cell, now)

        registered = self._db.write(register)
        self._directory.refresh()
        return pb.RegisterCellResponse(cell=registered)

    def ListCells(self, request: pb.ListCellsRequest, context: grpc.ServicerContext) -> pb.ListCellsResponse:
        return pb.ListCellsResponse(cells=self._db.read(cells.listing))

    def WatchCells(
        self, request: pb.WatchCellsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchCellsResponse]:
        for change in self._feed.watch(request.resume_revision, self._stopping, context.is_active):
            if isinstance(change, feeds.SnapshotEnd):
                yield pb.WatchCellsResponse(snapshot_end=True, revision=change.revision)
            elif change.deleted or change.value is None:
                yield pb.WatchCellsResponse(deleted_cell_id=change.key, revision=change.revision)
            else:
                yield pb.WatchCellsResponse(cell=change.value, revision=change.revision)
