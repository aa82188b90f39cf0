"""Placement: a service within this process, and a caller's handle on any."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from protonova.placement.v1 import (
    allocation_pb2,
    allocation_pb2_grpc,
    resource_class_pb2_grpc,
    resource_provider_pb2,
    resource_provider_pb2_grpc,
    trait_pb2_grpc,
)
from protonova.services.placement import main
from protonova.services.runtime import config
from protonova.services.runtime.channel import connect
from protonova.services.runtime.server import Server

Amounts = Mapping[str, int]


class PlacementCaller:
    """`providers`, `allocations`, `traits` and `classes` are the stubs; the methods make calls short."""

    def __init__(self, conf: config.Conf, address: str) -> None:
        self.conf = conf
        self.address = address
        self._channel = connect(conf, address)
        self.providers = resource_provider_pb2_grpc.ResourceProviderServiceStub(self._channel)
        self.allocations = allocation_pb2_grpc.AllocationServiceStub(self._channel)
        self.traits = trait_pb2_grpc.TraitServiceStub(self._channel)
        self.classes = resource_class_pb2_grpc.ResourceClassServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def provider(
        self,
        name: str = "",
        *,
        parent: str = "",
        inventories: Mapping[str, Any] | None = None,
        traits: Iterable[str] = (),
        aggregates: Iterable[str] = (),
    ) -> str:
        """Makes a provider with all it has; answers its id. An inventory is a total or its fields."""
        id_ = str(uuid.uuid4())
        self.providers.CreateResourceProvider(
            resource_provider_pb2.CreateResourceProviderRequest(id=id_, name=name or id_, parent_id=parent)
        )
        if inventories:
            self.set_inventories(id_, inventories)
        if traits:
            self.providers.ReplaceProviderTraits(
                resource_provider_pb2.ReplaceProviderTraitsRequest(id=id_, traits=traits)
            )
        if aggregates:
            self.providers.ReplaceProviderAggregates(
                resource_provider_pb2.ReplaceProviderAggregatesRequest(id=id_, aggregates=aggregates)
            )
        return id_

    def set_inventories(
        self,
        provider_id: str,
        inventories: Mapping[str, Any],
        change: str = "REPLACE_ALL",
        generation: int | None = None,
        allow_full_reservation: bool = True,
    ) -> resource_provider_pb2.UpdateInventoriesResponse:
        return self.providers.UpdateInventories(
            resource_provider_pb2.UpdateInventoriesRequest(
                id=provider_id,
                generation=generation,
                change=resource_provider_pb2.InventoryChange.Value(f"INVENTORY_CHANGE_{change}"),
                inventories={
                    name: resource_provider_pb2.Inventory(
                        **({"total": fields} if isinstance(fields, int) else fields)
                    )
                    for name, fields in inventories.items()
                },
                allow_full_reservation=allow_full_reservation,
            )
        )

    def claim(self, consumer: str, providers: Mapping[str, Amounts], **fields: Any) -> None:
        self.claim_many({consumer: providers}, **fields)

    def claim_many(self, consumers: Mapping[str, Mapping[str, Amounts]], **fields: Any) -> None:
        self.allocations.ReplaceAllocations(
            allocation_pb2.ReplaceAllocationsRequest(
                consumers=[consumer_message(id_, held, **fields) for id_, held in consumers.items()]
            )
        )

    def release(self, consumer: str) -> None:
        self.allocations.DeleteAllocations(allocation_pb2.DeleteAllocationsRequest(consumer_id=consumer))

    def held(self, consumer: str) -> dict[str, dict[str, int]]:
        answer = self.allocations.GetAllocations(allocation_pb2.GetAllocationsRequest(consumer_id=consumer))
        providers = answer.consumer.allocations.providers
        return {provider: dict(amounts.amounts) for provider, amounts in providers.items()}

    def used(self, provider: str) -> dict[str, int]:
        answer = self.providers.GetProviderUsages(resource_provider_pb2.GetProviderUsagesRequest(id=provider))
        return dict(answer.usages)

    def generation(self, provider: str) -> int:
        answer = self.providers.GetResourceProvider(
            resource_provider_pb2.GetResourceProviderRequest(id=provider)
        )
        return answer.provider.generation

    def candidates(
        self, *groups: allocation_pb2.RequestGroup, **fields: Any
    ) -> list[dict[str, dict[str, int]]]:
        """The allocations of each candidate."""
        fields.setdefault("nested", True)
        answer = self.allocations.ListAllocationCandidates(
            allocation_pb2.ListAllocationCandidatesRequest(groups=groups, **fields)
        )
        return [
            {p: dict(amounts.amounts) for p, amounts in candidate.allocations.providers.items()}
            for candidate in answer.candidates
        ]


class Placement(PlacementCaller):
    """With the service itself."""

    def __init__(self, database_url: str, **options: Any) -> None:
        options.setdefault("graceful_shutdown_timeout", 0.5)
        conf = config.load(files=[], placement_database__connection=database_url, **options)
        self.server = Server(conf, "placement", "127.0.0.1:0")
        main.build(conf, self.server)
        self.server.start()
        super().__init__(conf, self.server.address)

    def close(self) -> None:
        super().close()
        self.server.stop()


def consumer_message(
    consumer: str,
    providers: Mapping[str, Amounts],
    *,
    project: str = "project",
    user: str = "user",
    type_: str = "INSTANCE",
    check: str = "UNSPECIFIED",
    generation: int = 0,
) -> allocation_pb2.ConsumerAllocations:
    message = allocation_pb2.ConsumerAllocations(
        consumer_id=consumer,
        project_id=project,
        user_id=user,
        consumer_type=type_,
        generation_check=allocation_pb2.GenerationCheck.Value(f"GENERATION_CHECK_{check}"),
        generation=generation,
    )
    for provider, amounts in providers.items():
        message.allocations.providers[provider].amounts.update(amounts)
    return message


def group(suffix: str = "", resources: Amounts | None = None, **fields: Any) -> allocation_pb2.RequestGroup:
    """`required` and `member_of` are lists of lists: one of each."""
    message = allocation_pb2.RequestGroup(suffix=suffix, resources=resources or {})
    for choice in fields.pop("required", ()):
        message.required_traits.add(any_of=choice)
    for choice in fields.pop("member_of", ()):
        message.member_of.add(any_of=choice)
    message.MergeFrom(allocation_pb2.RequestGroup(**fields))
    return message
