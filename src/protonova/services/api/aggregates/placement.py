"""Aggregates of providers, as placement has them. One aggregate is put on a provider or taken from it; what else
the provider is in is others' and stays."""

from __future__ import annotations

from collections.abc import Collection

from protonova.placement.v1 import resource_provider_pb2 as pb
from protonova.placement.v1 import resource_provider_pb2_grpc
from protonova.services.runtime import channel, errors
from protonova.services.runtime.config import Conf

# Writers of the same provider (its agent, claims on it) raise its generation between a read and a write.
_ATTEMPTS = 20


class ProviderAggregates:
    def __init__(self, conf: Conf) -> None:
        self._channel = channel.connect(conf, conf.placement.target)
        self._providers = resource_provider_pb2_grpc.ResourceProviderServiceStub(self._channel)

    def put(self, provider_id: str, aggregate_id: str, *, member: bool) -> bool:
        """Whether the provider is there. Raises CONCURRENT_UPDATE when others write it all the time."""
        for _ in range(_ATTEMPTS):
            try:
                found = self._providers.GetProviderAggregates(pb.GetProviderAggregatesRequest(id=provider_id))
                if (aggregate_id in found.aggregates) is member:
                    return True
                wanted = set(found.aggregates) ^ {aggregate_id}
                self._providers.ReplaceProviderAggregates(
                    pb.ReplaceProviderAggregatesRequest(
                        id=provider_id, generation=found.generation, aggregates=sorted(wanted)
                    )
                )
            except errors.NotFound:
                return False
            except errors.Aborted as error:
                conflict = error
            else:
                return True
        raise conflict

    def is_there(self, provider_id: str) -> bool:
        try:
            self._providers.GetResourceProvider(pb.GetResourceProviderRequest(id=provider_id))
        except errors.NotFound:
            return False
        return True

    def members(self, aggregate_id: str) -> Collection[str]:
        """Providers that are in an aggregate."""
        wanted = pb.ListResourceProvidersRequest(member_of=[pb.AggregateCondition(any_of=[aggregate_id])])
        return {provider.id for provider in self._providers.ListResourceProviders(wanted).providers}

    def close(self) -> None:
        self._channel.close()
