"""The part of a cell, as the api service sees it, that moves servers: it writes down what it is asked."""

from __future__ import annotations

from typing import Any

from protonova.common.v1 import server_pb2 as common
from protonova.common.v1.migration_pb2 import Migration
from protonova.conductor.v1 import migration_pb2 as pb
from protonova.conductor.v1 import migration_pb2_grpc
from protonova.services.runtime import errors


class Moves(migration_pb2_grpc.MigrationServiceServicer):
    """``migrations`` stand newest first; ``refuse`` makes what begins a move fail, ``lose`` only its answer."""

    def __init__(self, servers: dict[str, common.Server]) -> None:
        self.servers = servers
        self.migrations: list[Migration] = []
        self.requests: list[Any] = []
        self.refuse: errors.Error | None = None
        self.lose: errors.Error | None = None

    def _begin(self, request: Any) -> None:
        self.requests.append(request)
        if self.refuse is not None:
            raise self.refuse
        self.migrations.insert(
            0,
            Migration(
                id=request.migration_id,
                number=len(self.migrations) + 1,
                server_id=request.server_id,
                project_id=self.servers[request.server_id].project_id,
                created_at={"seconds": len(self.migrations) + 1},
            ),
        )
        if self.lose is not None:
            raise self.lose

    def MoveServer(self, request, context):
        self._begin(request)
        return pb.MoveServerResponse()

    def LiveMigrateServer(self, request, context):
        self._begin(request)
        return pb.LiveMigrateServerResponse()

    def EvacuateServer(self, request, context):
        self._begin(request)
        return pb.EvacuateServerResponse()

    def ConfirmResize(self, request, context):
        self.requests.append(request)
        return pb.ConfirmResizeResponse()

    def ListMigrations(self, request, context):
        found = [each for each in self.migrations if request.id in ("", each.id)]
        found = [each for each in found if request.filter.project_id in ("", each.project_id)]
        found = [each for each in found if request.filter.server_id in ("", each.server_id)]
        if request.HasField("after"):
            found = [each for each in found if each.created_at.seconds < request.after.created_at.seconds]
        return pb.ListMigrationsResponse(migrations=found[: request.page_size or None])

    def GetMigration(self, request, context):
        for each in self.migrations:
            if (each.server_id, each.number) == (request.server_id, request.number):
                return pb.GetMigrationResponse(migration=each)
        raise errors.NotFound("There is none.", reason="MIGRATION_NOT_FOUND")
