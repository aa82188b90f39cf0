"""UsageService: what servers of this cell took."""

from __future__ import annotations

import grpc

from protonova.conductor.v1 import usage_pb2 as pb
from protonova.conductor.v1 import usage_pb2_grpc
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.usage import audits, windows


class UsageServicer(usage_pb2_grpc.UsageServiceServicer):
    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def ListServerUsages(
        self, request: pb.ListServerUsagesRequest, context: grpc.ServicerContext
    ) -> pb.ListServerUsagesResponse:
        found = self._cell.db.read(lambda connection: windows.list_usages(connection, request))
        return pb.ListServerUsagesResponse(usages=found)

    def ListUsageAudits(
        self, request: pb.ListUsageAuditsRequest, context: grpc.ServicerContext
    ) -> pb.ListUsageAuditsResponse:
        found = self._cell.db.read(lambda connection: audits.list_audits(connection, request))
        return pb.ListUsageAuditsResponse(audits=found)
