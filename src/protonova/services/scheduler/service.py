"""SchedulerService: messages in, messages out."""

from __future__ import annotations

import grpc

from protonova.common.v1 import resources_pb2
from protonova.scheduler.v1 import scheduler_pb2 as pb
from protonova.scheduler.v1 import scheduler_pb2_grpc
from protonova.services.runtime import errors
from protonova.services.scheduler.destinations import Destinations, Outcome
from protonova.services.scheduler.following import Following
from protonova.services.scheduler.planning import Place


class SchedulerServicer(scheduler_pb2_grpc.SchedulerServiceServicer):
    """Chooses hosts once the view is there."""

    def __init__(self, destinations: Destinations, following: Following) -> None:
        self._destinations = destinations
        self._following = following

    def SelectDestinations(
        self, request: pb.SelectDestinationsRequest, context: grpc.ServicerContext
    ) -> pb.SelectDestinationsResponse:
        if missing := self._following.missing():
            raise errors.Unavailable(f"The scheduler waits for {missing}.", reason="SCHEDULER_NOT_READY")
        self._following.look_at_cells()
        outcome = self._destinations.select(request.spec, request.server_ids, request.max_alternates)
        return pb.SelectDestinationsResponse(
            selections=[_selection(server_id, outcome) for server_id in request.server_ids]
        )


def _selection(server_id: str, outcome: Outcome) -> pb.Selection:
    pick = outcome.picks.get(server_id)
    if pick is None:
        return pb.Selection(server_id=server_id, failure=outcome.failures[server_id])
    return pb.Selection(
        server_id=server_id,
        destination=_destination(pick.place),
        alternates=map(_destination, pick.alternates),
    )


def _destination(place: Place) -> resources_pb2.Destination:
    host = place.host
    message = resources_pb2.Destination(
        host=host.host,
        node=host.node,
        node_id=host.node_id,
        cell_id=host.cell_id,
        availability_zone=host.availability_zone,
    )
    for provider, amounts in place.allocations.items():
        message.allocations.providers[provider].amounts.update(amounts)
    return message
