"""A scheduler that does as it is told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from protonova.common.v1.flavor_pb2 import Flavor
from protonova.common.v1.resources_pb2 import AllocationSet, Destination, ResourceAmounts
from protonova.placement.v1 import allocation_pb2
from protonova.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc


class Scheduler(scheduler_pb2_grpc.SchedulerServiceServicer):
    """Names `hosts` in their order and claims the first, for the size that is asked for."""

    def __init__(self, allocations: Any, hosts: Iterable[str]) -> None:
        self.hosts = list(hosts)
        self.requests: list[scheduler_pb2.SelectDestinationsRequest] = []
        self._allocations = allocations

    def SelectDestinations(self, request, context):
        self.requests.append(request)
        spec = request.spec
        left = [name for name in self.hosts if name not in spec.ignore_hosts]
        left = [name for name in left if spec.host in ("", name)]
        (consumer_id,) = request.server_ids
        selection = scheduler_pb2.Selection(server_id=consumer_id)
        if not left:
            selection.failure = "No valid host was found. Nobody is left."
            return scheduler_pb2.SelectDestinationsResponse(selections=[selection])
        found = [place(name, spec.flavor) for name in left]
        selection.destination.CopyFrom(found[0])
        selection.alternates.extend(found[1 : 1 + request.max_alternates])
        claim = allocation_pb2.ConsumerAllocations(
            consumer_id=consumer_id,
            allocations=found[0].allocations,
            consumer_type="MIGRATION" if request.HasField("move") else "INSTANCE",
        )
        self._allocations.ReplaceAllocations(
            allocation_pb2.ReplaceAllocationsRequest(consumers=[claim]), context
        )
        return scheduler_pb2.SelectDestinationsResponse(selections=[selection])


def place(host: str, flavor: Flavor) -> Destination:
    from tests.support.conductor import node_id

    amounts = ResourceAmounts(amounts={"VCPU": flavor.vcpus, "MEMORY_MB": flavor.memory_mb})
    return Destination(
        host=host,
        node=host,
        node_id=node_id(host),
        availability_zone="nova",
        allocations=AllocationSet(providers={node_id(host): amounts}),
    )
