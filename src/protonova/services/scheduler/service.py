"""SchedulerService: messages in, messages out."""

from __future__ import annotations

import grpc

from protonova.common.v1 import resources_pb2
from protonova.scheduler.v1 import scheduler_pb2 as pb
from protonova.scheduler.v1 import scheduler_pb2_grpc
from protonova.services.runtime import errors
from protonova.services.scheduler.destinations import Destinations, Outcome
from protonova.services.scheduler.explaining import Explanation, Verdict, rule_of
from protonova.services.scheduler.following import Following
from protonova.services.scheduler.planning import Place

# Servers, and hosts, that one explanation is about.
_MOST = 10_000


class SchedulerServicer(scheduler_pb2_grpc.SchedulerServiceServicer):
    """Chooses hosts once the view is there."""

    def __init__(self, destinations: Destinations, following: Following) -> None:
        self._destinations = destinations
        self._following = following

    def SelectDestinations(
        self, request: pb.SelectDestinationsRequest, context: grpc.ServicerContext
    ) -> pb.SelectDestinationsResponse:
        move = request.move if request.HasField("move") else None
        if move and len(request.server_ids) != 1:
            raise errors.InvalidArgument(
                "One server is moved at a time.", reason="REQUEST_INVALID", field="server_ids"
            )
        self._be_ready()
        outcome = self._destinations.select(
            request.spec, request.server_ids, request.max_alternates, context.is_active, move
        )
        return pb.SelectDestinationsResponse(
            selections=[_selection(server_id, outcome) for server_id in request.server_ids]
        )

    def ExplainPlacement(
        self, request: pb.ExplainPlacementRequest, context: grpc.ServicerContext
    ) -> pb.ExplainPlacementResponse:
        for field in ("count", "max_hosts"):
            if not 0 <= getattr(request, field) <= _MOST:
                raise errors.InvalidArgument(
                    f"{field} is a number from 0 to {_MOST}.", reason="REQUEST_INVALID", field=field
                )
        self._be_ready()
        explanation, places = self._destinations.explain(request.spec, request.count or 1, request.max_hosts)
        return pb.ExplainPlacementResponse(
            explanation=_explanation(explanation), destinations=map(_destination, places)
        )

    def CheckRebuild(
        self, request: pb.CheckRebuildRequest, context: grpc.ServicerContext
    ) -> pb.CheckRebuildResponse:
        self._be_ready()
        refusing = self._destinations.refuses_rebuild(request.spec)
        if refusing is None:
            return pb.CheckRebuildResponse()
        return pb.CheckRebuildResponse(filter=refusing.name, reason=rule_of(refusing))

    def _be_ready(self) -> None:
        if missing := self._following.missing():
            raise errors.Unavailable(f"The scheduler waits for {missing}.", reason="SCHEDULER_NOT_READY")
        self._following.look_at_cells()


def _selection(server_id: str, outcome: Outcome) -> pb.Selection:
    pick = outcome.picks.get(server_id)
    if pick is None:
        told = None if outcome.explanation is None else _explanation(outcome.explanation)
        return pb.Selection(server_id=server_id, failure=outcome.failures[server_id], explanation=told)
    return pb.Selection(
        server_id=server_id,
        destination=_destination(pick.place),
        alternates=map(_destination, pick.alternates),
    )


def _explanation(explanation: Explanation) -> pb.Explanation:
    return pb.Explanation(
        hosts=explanation.hosts,
        words=explanation.words(),
        stages=[
            pb.Stage(name=stage.name, hosts_before=stage.before, hosts_after=stage.after, note=stage.note)
            for stage in explanation.stages
        ],
        shortages=[
            pb.Shortage(
                resource_class=one.resource_class,
                requested=one.requested,
                hosts_short=one.hosts_short,
                most_free=one.most_free,
            )
            for one in explanation.shortages
        ],
        verdicts=map(_verdict, explanation.verdicts),
    )


def _verdict(verdict: Verdict) -> pb.HostVerdict:
    return pb.HostVerdict(
        host=verdict.host.host,
        node=verdict.host.node,
        cell_id=verdict.host.cell_id,
        stage=verdict.stage,
        reason=verdict.reason,
        weight=verdict.weight,
        weights=verdict.weights,
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
    for request_id, providers in place.pci_providers.items():
        message.pci_providers[request_id].provider_ids.extend(providers)
    return message
