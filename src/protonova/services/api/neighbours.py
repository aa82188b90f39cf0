"""The scheduler and placement, as a build calls them. Every call here can be repeated."""

from __future__ import annotations

from collections.abc import Iterable

from protonova.placement.v1 import allocation_pb2, allocation_pb2_grpc
from protonova.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from protonova.services.runtime import channel
from protonova.services.runtime.config import Conf

# Consumers in one call.
_AT_ONCE = 200


class Neighbours:
    def __init__(self, conf: Conf) -> None:
        self._channels = [
            channel.connect(conf, conf.scheduler.target),
            channel.connect(conf, conf.placement.target),
        ]
        self._scheduler = scheduler_pb2_grpc.SchedulerServiceStub(self._channels[0])
        self._allocations = allocation_pb2_grpc.AllocationServiceStub(self._channels[1])
        self._alternates = int(conf.scheduler.max_attempts) - 1

    def select(
        self, spec: scheduler_pb2.RequestSpec, server_ids: Iterable[str]
    ) -> list[scheduler_pb2.Selection]:
        """A claimed host for each server, or why there is none."""
        answer = self._scheduler.SelectDestinations(
            scheduler_pb2.SelectDestinationsRequest(
                spec=spec, server_ids=server_ids, max_alternates=self._alternates
            )
        )
        return list(answer.selections)

    def explain(
        self, spec: scheduler_pb2.RequestSpec, count: int, max_hosts: int
    ) -> scheduler_pb2.ExplainPlacementResponse:
        """What `select` would decide now."""
        return self._scheduler.ExplainPlacement(
            scheduler_pb2.ExplainPlacementRequest(spec=spec, count=count, max_hosts=max_hosts)
        )

    def release(self, server_ids: Iterable[str]) -> None:
        """Gives back whatever is claimed for these servers."""
        ids = sorted(server_ids)
        for start in range(0, len(ids), _AT_ONCE):
            request = allocation_pb2.ReplaceAllocationsRequest()
            for server_id in ids[start : start + _AT_ONCE]:
                request.consumers.add(consumer_id=server_id).allocations.SetInParent()
            self._allocations.ReplaceAllocations(request)

    def close(self) -> None:
        for each in self._channels:
            each.close()
