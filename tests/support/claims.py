"""Scheduler and placement as a build sees them: real gRPC servers that keep claims in memory."""

from __future__ import annotations

import itertools
import threading
import uuid

from protonova.common.v1.resources_pb2 import Destination
from protonova.placement.v1 import allocation_pb2, allocation_pb2_grpc
from protonova.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from protonova.services.runtime.server import Server as RpcServer
from tests.support.gates import Gates


class Claims:
    """`places` are (host, cell id) in turn; `full` servers find no host; `held` is what is claimed."""

    def __init__(self, conf) -> None:
        self.gates = Gates()
        self.places: list[tuple[str, str]] = []
        self.room: int | None = None
        self.held: dict[str, str] = {}
        self.specs: list[scheduler_pb2.RequestSpec] = []
        self.lock = threading.Lock()
        self._turn = itertools.count()
        self._rpc = RpcServer(conf, "claims", "127.0.0.1:0")
        self._rpc.add(scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server, _Scheduler(self))
        self._rpc.add(allocation_pb2_grpc.add_AllocationServiceServicer_to_server, _Allocations(self))
        self.target = f"127.0.0.1:{self._rpc.start()}"

    def stop(self) -> None:
        self._rpc.stop(0)

    def choose(self, server_id: str) -> Destination | None:
        with self.lock:
            if not self.places or (self.room is not None and len(self.held) >= self.room):
                return None
            host, cell_id = self.places[next(self._turn) % len(self.places)]
            self.held[server_id] = host
        destination = Destination(host=host, node=host, node_id=str(uuid.uuid4()), cell_id=cell_id)
        destination.allocations.providers[destination.node_id].amounts["VCPU"] = 1
        return destination


class _Scheduler(scheduler_pb2_grpc.SchedulerServiceServicer):
    def __init__(self, claims: Claims) -> None:
        self._claims = claims

    def SelectDestinations(self, request, context):
        self._claims.gates.enter("SelectDestinations")
        self._claims.specs.append(request.spec)
        response = scheduler_pb2.SelectDestinationsResponse()
        for server_id in request.server_ids:
            destination = self._claims.choose(server_id)
            if destination is None:
                response.selections.add(server_id=server_id, failure="Every host is full.")
            else:
                response.selections.add(
                    server_id=server_id, destination=destination, alternates=[Destination(host="spare")]
                )
        self._claims.gates.leave("SelectDestinations")
        return response


class _Allocations(allocation_pb2_grpc.AllocationServiceServicer):
    def __init__(self, claims: Claims) -> None:
        self._claims = claims

    def ReplaceAllocations(self, request, context):
        self._claims.gates.enter("ReplaceAllocations")
        with self._claims.lock:
            for consumer in request.consumers:
                assert not consumer.allocations.providers
                self._claims.held.pop(consumer.consumer_id, None)
        return allocation_pb2.ReplaceAllocationsResponse()
