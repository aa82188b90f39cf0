"""ResourceProviderService."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from protonova.placement.v1 import resource_provider_pb2 as pb
from protonova.placement.v1 import resource_provider_pb2_grpc
from protonova.services.placement import refusals
from protonova.services.placement.house import House
from protonova.services.placement.inventories import Change
from protonova.services.placement.listing import ProviderFilter
from protonova.services.placement.query import check_amounts, conditions
from protonova.services.placement.service import messages
from protonova.services.runtime import errors, feeds

_CHANGES = {
    pb.INVENTORY_CHANGE_REPLACE_ALL: Change.REPLACE_ALL,
    pb.INVENTORY_CHANGE_ADD: Change.ADD,
    pb.INVENTORY_CHANGE_UPDATE: Change.UPDATE,
    pb.INVENTORY_CHANGE_REMOVE: Change.REMOVE,
}


class ResourceProviderServicer(resource_provider_pb2_grpc.ResourceProviderServiceServicer):
    """Providers, and what hangs on them."""

    def __init__(self, house: House) -> None:
        self._house = house

    def CreateResourceProvider(
        self, request: pb.CreateResourceProviderRequest, context: grpc.ServicerContext
    ) -> pb.CreateResourceProviderResponse:
        (made,) = self._house.providers.create(request.id, request.name, request.parent_id)
        self._house.mirror.refresh([made])
        return pb.CreateResourceProviderResponse(provider=self._provider(made))

    def GetResourceProvider(
        self, request: pb.GetResourceProviderRequest, context: grpc.ServicerContext
    ) -> pb.GetResourceProviderResponse:
        return pb.GetResourceProviderResponse(provider=self._provider(request.id))

    def ListResourceProviders(
        self, request: pb.ListResourceProvidersRequest, context: grpc.ServicerContext
    ) -> pb.ListResourceProvidersResponse:
        check_amounts("resources", request.resources)
        found = self._house.listing.find(
            ProviderFilter(
                name=request.name,
                id=request.id,
                in_tree=request.in_tree,
                resources=dict(request.resources),
                conditions=conditions(
                    request.required_traits,
                    request.forbidden_traits,
                    request.member_of,
                    request.forbidden_aggregates,
                ),
            )
        )
        return pb.ListResourceProvidersResponse(providers=map(messages.provider, found))

    def UpdateResourceProvider(
        self, request: pb.UpdateResourceProviderRequest, context: grpc.ServicerContext
    ) -> pb.UpdateResourceProviderResponse:
        changed = self._house.providers.update(
            request.id,
            request.name,
            request.parent_id if request.change_parent else None,
            first_parent_only=request.first_parent_only,
        )
        self._house.mirror.refresh(changed)
        return pb.UpdateResourceProviderResponse(provider=self._provider(request.id))

    def DeleteResourceProvider(
        self, request: pb.DeleteResourceProviderRequest, context: grpc.ServicerContext
    ) -> pb.DeleteResourceProviderResponse:
        self._house.providers.delete(request.id)
        self._house.mirror.refresh([request.id])
        return pb.DeleteResourceProviderResponse()

    def GetInventories(
        self, request: pb.GetInventoriesRequest, context: grpc.ServicerContext
    ) -> pb.GetInventoriesResponse:
        generation, found = self._house.inventories.get(request.id)
        return pb.GetInventoriesResponse(
            generation=generation,
            inventories=messages.inventories({name: row.inventory for name, row in found.items()}),
        )

    def UpdateInventories(
        self, request: pb.UpdateInventoriesRequest, context: grpc.ServicerContext
    ) -> pb.UpdateInventoriesResponse:
        change = _CHANGES.get(request.change)
        if change is None:
            raise errors.InvalidArgument("No change is named.", reason="INVENTORY_INVALID", field="change")
        generation, found = self._house.inventories.update(
            request.id,
            request.generation if request.HasField("generation") else None,
            change,
            {name: messages.inventory_of(message) for name, message in request.inventories.items()},
            allow_full_reservation=request.allow_full_reservation,
        )
        self._house.mirror.refresh([request.id])
        return pb.UpdateInventoriesResponse(
            generation=generation,
            inventories=messages.inventories({name: row.inventory for name, row in found.items()}),
        )

    def GetProviderTraits(
        self, request: pb.GetProviderTraitsRequest, context: grpc.ServicerContext
    ) -> pb.GetProviderTraitsResponse:
        generation, names = self._house.qualities.traits(request.id)
        return pb.GetProviderTraitsResponse(generation=generation, traits=names)

    def ReplaceProviderTraits(
        self, request: pb.ReplaceProviderTraitsRequest, context: grpc.ServicerContext
    ) -> pb.ReplaceProviderTraitsResponse:
        generation, names = self._house.qualities.replace_traits(
            request.id, request.generation if request.HasField("generation") else None, request.traits
        )
        self._house.mirror.refresh([request.id])
        return pb.ReplaceProviderTraitsResponse(generation=generation, traits=names)

    def GetProviderAggregates(
        self, request: pb.GetProviderAggregatesRequest, context: grpc.ServicerContext
    ) -> pb.GetProviderAggregatesResponse:
        generation, uuids = self._house.qualities.aggregates(request.id)
        return pb.GetProviderAggregatesResponse(generation=generation, aggregates=uuids)

    def ReplaceProviderAggregates(
        self, request: pb.ReplaceProviderAggregatesRequest, context: grpc.ServicerContext
    ) -> pb.ReplaceProviderAggregatesResponse:
        generation, uuids = self._house.qualities.replace_aggregates(
            request.id, request.generation if request.HasField("generation") else None, request.aggregates
        )
        self._house.mirror.refresh([request.id])
        return pb.ReplaceProviderAggregatesResponse(generation=generation, aggregates=uuids)

    def GetProviderUsages(
        self, request: pb.GetProviderUsagesRequest, context: grpc.ServicerContext
    ) -> pb.GetProviderUsagesResponse:
        generation, found = self._house.inventories.get(request.id)
        return pb.GetProviderUsagesResponse(
            generation=generation, usages={name: row.used for name, row in found.items()}
        )

    def WatchProviders(
        self, request: pb.WatchProvidersRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchProvidersResponse]:
        mirror = self._house.mirror
        for change in mirror.feed.watch(
            request.resume_revision, self._house.stopping, context.is_active, mirror.whole
        ):
            if isinstance(change, feeds.SnapshotEnd):
                yield pb.WatchProvidersResponse(snapshot_end=True, revision=change.revision)
            elif change.deleted or change.value is None:
                yield pb.WatchProvidersResponse(deleted_provider_id=change.key, revision=change.revision)
            else:
                yield pb.WatchProvidersResponse(
                    state=messages.provider_state(change.value), revision=change.revision
                )

    def _provider(self, provider_id: str) -> pb.ResourceProvider:
        found = self._house.listing.find(ProviderFilter(id=provider_id)) if provider_id else []
        if not found:
            raise refusals.provider_not_found(provider_id)
        return messages.provider(found[0])
