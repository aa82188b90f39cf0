"""The global services a cell calls, as small real gRPC servers with their state in memory."""

from __future__ import annotations

import threading

from protonova.api.v1 import cell_pb2, cell_pb2_grpc, server_pb2, server_pb2_grpc
from protonova.placement.v1 import allocation_pb2, allocation_pb2_grpc
from protonova.services.runtime import errors
from tests.support.gates import Gates


class Allocations(allocation_pb2_grpc.AllocationServiceServicer):
    """What consumers hold; providers in `full` have no room."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.held: dict[str, allocation_pb2.ConsumerAllocations] = {}
        self.full: set[str] = set()
        self.errors: list[errors.Error] = []

    def providers(self, consumer_id: str) -> list[str]:
        held = self.held.get(consumer_id)
        return sorted(held.allocations.providers) if held else []

    def ReplaceAllocations(self, request, context):
        with self.lock:
            if self.errors:
                raise self.errors.pop(0)
            for consumer in request.consumers:
                for provider in consumer.allocations.providers:
                    if provider in self.full:
                        raise errors.FailedPrecondition(
                            "The provider is full.", reason="CAPACITY_EXCEEDED", provider_id=provider
                        )
            for consumer in request.consumers:
                self.held[consumer.consumer_id] = consumer
        return allocation_pb2.ReplaceAllocationsResponse()

    def GetAllocations(self, request, context):
        with self.lock:
            held = self.held.get(request.consumer_id, allocation_pb2.ConsumerAllocations())
        return allocation_pb2.GetAllocationsResponse(consumer=held)

    def DeleteAllocations(self, request, context):
        with self.lock:
            if self.errors:
                raise self.errors.pop(0)
            if self.held.pop(request.consumer_id, None) is None:
                raise errors.NotFound("The consumer holds nothing.", reason="ALLOCATION_NOT_FOUND")
        return allocation_pb2.DeleteAllocationsResponse()


class Region(server_pb2_grpc.ServerServiceServicer):
    """Which servers were let go."""

    def __init__(self) -> None:
        self.released: list[str] = []
        # Those that count for nothing.
        self.uncharged: set[str] = set()
        self.gates = Gates()
        self.errors: list[errors.Error] = []

    def ChargeServerQuota(self, request, context):
        if self.errors:
            raise self.errors.pop(0)
        self.uncharged.discard(request.id)
        return server_pb2.ChargeServerQuotaResponse()

    def ReturnServerQuota(self, request, context):
        if self.errors:
            raise self.errors.pop(0)
        self.uncharged.add(request.id)
        return server_pb2.ReturnServerQuotaResponse()

    def ReleaseServers(self, request, context):
        self.gates.enter("ReleaseServers")
        if self.errors:
            raise self.errors.pop(0)
        self.released.extend(request.server_ids)
        return server_pb2.ReleaseServersResponse()


class Cells(cell_pb2_grpc.CellServiceServicer):
    """Which cells have registered."""

    def __init__(self) -> None:
        self.cells: dict[str, cell_pb2.Cell] = {}
        self.errors: list[errors.Error] = []
        self.registered = threading.Event()

    def RegisterCell(self, request, context):
        if self.errors:
            raise self.errors.pop(0)
        self.cells[request.cell.id] = request.cell
        self.registered.set()
        return cell_pb2.RegisterCellResponse(cell=request.cell)
