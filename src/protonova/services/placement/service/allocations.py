"""AllocationService."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import grpc

from protonova.common.v1 import resources_pb2
from protonova.placement.v1 import allocation_pb2 as pb
from protonova.placement.v1 import allocation_pb2_grpc
from protonova.services.placement import refusals
from protonova.services.placement.claims.change import Claim, ConsumerChange, claim_of
from protonova.services.placement.claims.reshape import NewShape
from protonova.services.placement.house import House
from protonova.services.placement.index.candidate import Allocations
from protonova.services.placement.index.search import search, summarized
from protonova.services.placement.query import CandidateQuery
from protonova.services.placement.service import candidates, messages

LOG = logging.getLogger(__name__)


class AllocationServicer(allocation_pb2_grpc.AllocationServiceServicer):
    """Who holds what, and where a request would fit."""

    def __init__(self, house: House) -> None:
        self._house = house

    def ReplaceAllocations(
        self, request: pb.ReplaceAllocationsRequest, context: grpc.ServicerContext
    ) -> pb.ReplaceAllocationsResponse:
        self._house.combiner.submit(self._claim(request.consumers))
        return pb.ReplaceAllocationsResponse()

    def GetAllocations(
        self, request: pb.GetAllocationsRequest, context: grpc.ServicerContext
    ) -> pb.GetAllocationsResponse:
        held = self._house.usages.of_consumer(request.consumer_id)
        response = pb.GetAllocationsResponse(
            consumer=pb.ConsumerAllocations(
                consumer_id=held.consumer_id,
                allocations=_allocation_set(held.providers),
                project_id=held.project_id,
                user_id=held.user_id,
                consumer_type=held.type,
                generation=held.generation,
            ),
            provider_generations=held.generations,
        )
        if held.updated_at:
            response.updated_at.CopyFrom(messages.timestamp(held.updated_at))
        return response

    def DeleteAllocations(
        self, request: pb.DeleteAllocationsRequest, context: grpc.ServicerContext
    ) -> pb.DeleteAllocationsResponse:
        self._house.combiner.submit((ConsumerChange(request.consumer_id, delete=True),))
        return pb.DeleteAllocationsResponse()

    def ListProviderAllocations(
        self, request: pb.ListProviderAllocationsRequest, context: grpc.ServicerContext
    ) -> pb.ListProviderAllocationsResponse:
        generation, found = self._house.usages.of_provider(request.provider_id)
        return pb.ListProviderAllocationsResponse(
            provider_generation=generation,
            allocations=[
                pb.ProviderAllocation(
                    consumer_id=consumer,
                    resources=resources_pb2.ResourceAmounts(amounts=amounts),
                    consumer_generation=consumer_generation,
                )
                for consumer, consumer_generation, amounts in found
            ],
        )

    def GetUsages(self, request: pb.GetUsagesRequest, context: grpc.ServicerContext) -> pb.GetUsagesResponse:
        found = self._house.usages.of_project(request.project_id, request.user_id, request.consumer_type)
        return pb.GetUsagesResponse(
            groups=[
                pb.UsageGroup(
                    consumer_type=group.type, resources=group.resources, consumer_count=group.consumers
                )
                for group in found
            ]
        )

    def ListAllocationCandidates(
        self, request: pb.ListAllocationCandidatesRequest, context: grpc.ServicerContext
    ) -> pb.ListAllocationCandidatesResponse:
        query = CandidateQuery.of(request)
        for name in sorted(query.classes):
            self._house.vocabulary.class_number(name)
        for name in sorted(query.trait_names):
            self._house.vocabulary.trait_number(name)
        index = self._house.mirror.index
        found = search(index, query, self._house.search_settings)
        if found.incomplete:
            LOG.warning("A search for candidates was given up; it had found %d", len(found))
            if not found:
                raise refusals.query_too_hard()
        summaries = [] if request.skip_summaries else summarized(index, query, found)
        if request.tables:
            return candidates.in_tables(found, summaries, packed=request.packed)
        return candidates.one_by_one(found, summaries)

    def Reshape(self, request: pb.ReshapeRequest, context: grpc.ServicerContext) -> pb.ReshapeResponse:
        shapes = [
            NewShape(
                shape.provider_id,
                shape.generation,
                {name: messages.inventory_of(message) for name, message in shape.inventories.items()},
            )
            for shape in request.inventories
        ]
        self._house.mirror.refresh(self._house.reshaper.reshape(shapes, self._claim(request.consumers)))
        return pb.ReshapeResponse()

    def _claim(self, consumers: Iterable[pb.ConsumerAllocations]) -> Claim:
        claim = claim_of(consumers, self._house.nobody)
        for name in {name for change in claim for _, name in change.wanted}:
            self._house.vocabulary.class_number(name)
        return claim


def _allocation_set(allocations: Allocations) -> resources_pb2.AllocationSet:
    found = resources_pb2.AllocationSet()
    for provider, amounts in allocations.items():
        found.providers[provider].amounts.update(amounts)
    return found
