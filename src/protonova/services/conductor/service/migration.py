"""MigrationService: moves of servers of this cell, as callers ask for them and read of them."""

from __future__ import annotations

import grpc

from protonova.conductor.v1 import migration_pb2 as pb
from protonova.conductor.v1 import migration_pb2_grpc
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.moves import listing, store
from protonova.services.conductor.service.moves import Moves


class MigrationServicer(migration_pb2_grpc.MigrationServiceServicer):
    def __init__(self, cell: Cell, moves: Moves) -> None:
        self._cell = cell
        self._moves = moves

    def MoveServer(
        self, request: pb.MoveServerRequest, context: grpc.ServicerContext
    ) -> pb.MoveServerResponse:
        self._moves.cold(request)
        return pb.MoveServerResponse()

    def ConfirmResize(
        self, request: pb.ConfirmResizeRequest, context: grpc.ServicerContext
    ) -> pb.ConfirmResizeResponse:
        self._moves.confirm(request.server_id)
        return pb.ConfirmResizeResponse()

    def RevertResize(
        self, request: pb.RevertResizeRequest, context: grpc.ServicerContext
    ) -> pb.RevertResizeResponse:
        self._moves.revert(request.server_id)
        return pb.RevertResizeResponse()

    def LiveMigrateServer(
        self, request: pb.LiveMigrateServerRequest, context: grpc.ServicerContext
    ) -> pb.LiveMigrateServerResponse:
        self._moves.live(request)
        return pb.LiveMigrateServerResponse()

    def EvacuateServer(
        self, request: pb.EvacuateServerRequest, context: grpc.ServicerContext
    ) -> pb.EvacuateServerResponse:
        self._moves.evacuate(request)
        return pb.EvacuateServerResponse()

    def AbortMigration(
        self, request: pb.AbortMigrationRequest, context: grpc.ServicerContext
    ) -> pb.AbortMigrationResponse:
        self._moves.abort(request)
        return pb.AbortMigrationResponse()

    def ForceCompleteMigration(
        self, request: pb.ForceCompleteMigrationRequest, context: grpc.ServicerContext
    ) -> pb.ForceCompleteMigrationResponse:
        self._moves.force(request)
        return pb.ForceCompleteMigrationResponse()

    def ListLeftovers(
        self, request: pb.ListLeftoversRequest, context: grpc.ServicerContext
    ) -> pb.ListLeftoversResponse:
        return self._moves.leftovers(request)

    def CompleteEvacuation(
        self, request: pb.CompleteEvacuationRequest, context: grpc.ServicerContext
    ) -> pb.CompleteEvacuationResponse:
        self._moves.complete_evacuation(request)
        return pb.CompleteEvacuationResponse()

    def ListMigrations(
        self, request: pb.ListMigrationsRequest, context: grpc.ServicerContext
    ) -> pb.ListMigrationsResponse:
        found = self._cell.db.read(lambda connection: listing.page(connection, request, self._cell.id))
        return pb.ListMigrationsResponse(migrations=found)

    def GetMigration(
        self, request: pb.GetMigrationRequest, context: grpc.ServicerContext
    ) -> pb.GetMigrationResponse:
        found = self._cell.db.read(
            lambda connection: store.of_server(connection, request.server_id, request.number)
        )
        return pb.GetMigrationResponse(migration=found)
