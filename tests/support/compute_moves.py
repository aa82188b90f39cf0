"""The MigrationService of the api service's contract, kept in memory: it writes down what it is asked."""

from __future__ import annotations

import uuid
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from protonova.api.v1 import migration_pb2 as api
from protonova.api.v1 import migration_pb2_grpc
from protonova.common.v1 import migration_pb2 as pb
from protonova.services.runtime import context, errors
from tests.support.compute_api import START, Servers


class Migrations(migration_pb2_grpc.MigrationServiceServicer):
    """``requests`` keeps what was asked, ``refuse`` makes a method fail."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self.migrations: list[pb.Migration] = []
        self.requests: list[Any] = []
        self.refuse: dict[str, errors.Error] = {}

    def put(self, server: Any, **fields: Any) -> pb.Migration:
        number = len(self.migrations) + 1
        usual: dict[str, Any] = {
            "id": str(uuid.UUID(int=number)),
            "number": number,
            "server_id": server.id,
            "type": pb.MIGRATION_TYPE_RESIZE,
            "status": pb.MIGRATION_STATUS_FINISHED,
            "source_host": "h1",
            "source_node": "n1",
            "dest_host": "h2",
            "dest_node": "n2",
            "dest_ip": "10.0.0.2",
            "project_id": server.project_id,
            "user_id": server.user_id,
            "created_at": Timestamp(seconds=START + number),
            "updated_at": Timestamp(seconds=START + number, nanos=5000),
        }
        migration = pb.Migration(**{**usual, **fields})
        self.migrations.append(migration)
        return migration

    def ListMigrations(self, request, _):
        self.requests.append(request)
        found = [each for each in reversed(self.migrations) if self._matches(each, request.filter)]
        if request.page_token:
            ids = [each.id for each in found]
            if request.page_token not in ids:
                raise errors.InvalidArgument("There is no such marker.", "MARKER_NOT_FOUND")
            found = found[ids.index(request.page_token) + 1 :]
        return api.ListMigrationsResponse(migrations=found[: request.page_size or None])

    def GetMigration(self, request, _):
        self._find(request)
        for each in self.migrations:
            if (each.server_id, each.number) == (request.server_id, request.number):
                return api.GetMigrationResponse(migration=each)
        raise errors.NotFound("There is no such migration.", "MIGRATION_NOT_FOUND")

    @staticmethod
    def _matches(migration: pb.Migration, wanted: pb.MigrationFilter) -> bool:
        caller = context.current()
        project = wanted.project_id or ("" if caller.is_admin else caller.project_id)
        live = migration.type == pb.MIGRATION_TYPE_LIVE_MIGRATION
        return (
            project in ("", migration.project_id)
            and wanted.server_id in ("", migration.server_id)
            and wanted.host in ("", migration.source_host, migration.dest_host)
            and (live or not wanted.live_in_progress)
        )

    def _find(self, request):
        self.requests.append(request)
        name = type(request).__name__.removesuffix("Request")
        if name in self.refuse:
            raise self.refuse[name]
        return self._servers._find(request.server_id)

    def ResizeServer(self, request, _):
        self._find(request)
        return api.ResizeServerResponse()

    def MigrateServer(self, request, _):
        self._find(request)
        return api.MigrateServerResponse()

    def ConfirmResize(self, request, _):
        self._find(request)
        return api.ConfirmResizeResponse()

    def RevertResize(self, request, _):
        self._find(request)
        return api.RevertResizeResponse()

    def LiveMigrateServer(self, request, _):
        self._find(request)
        return api.LiveMigrateServerResponse()

    def EvacuateServer(self, request, _):
        self._find(request)
        shown = "" if request.on_shared_storage else request.admin_password or "generated"
        return api.EvacuateServerResponse(admin_password=shown)

    def AbortMigration(self, request, _):
        self._find(request)
        return api.AbortMigrationResponse()

    def ForceCompleteMigration(self, request, _):
        self._find(request)
        return api.ForceCompleteMigrationResponse()
