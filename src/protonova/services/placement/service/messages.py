"""Between records and the contract's messages."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf import timestamp_pb2

from protonova.placement.v1 import resource_provider_pb2 as pb
from protonova.services.placement.listing import ListedProvider
from protonova.services.placement.records import MAX_INTEGER, Inventory, ProviderRecord


def timestamp(microseconds: int) -> timestamp_pb2.Timestamp:
    return timestamp_pb2.Timestamp(seconds=microseconds // 1_000_000, nanos=microseconds % 1_000_000 * 1000)


def provider(record: ProviderRecord | ListedProvider) -> pb.ResourceProvider:
    return pb.ResourceProvider(
        id=record.id,
        name=record.name,
        generation=record.generation,
        parent_id=record.parent,
        root_id=record.root,
        updated_at=timestamp(record.updated_at),
    )


def provider_state(record: ProviderRecord) -> pb.ProviderState:
    return pb.ProviderState(
        provider=provider(record),
        inventories=inventories(record.inventories),
        usages=record.used,
        traits=sorted(record.traits),
        aggregates=sorted(record.aggregates),
    )


def inventories(found: Mapping[str, Inventory]) -> dict[str, pb.Inventory]:
    return {
        name: pb.Inventory(
            total=inventory.total,
            reserved=inventory.reserved,
            min_unit=inventory.min_unit,
            max_unit=inventory.max_unit,
            step_size=inventory.step_size,
            allocation_ratio=inventory.allocation_ratio,
        )
        for name, inventory in found.items()
    }


def inventory_of(message: pb.Inventory) -> Inventory:
    """What is 0 where 0 means nothing takes its default."""
    return Inventory(
        total=message.total,
        reserved=message.reserved,
        min_unit=message.min_unit or 1,
        max_unit=message.max_unit or MAX_INTEGER,
        step_size=message.step_size or 1,
        allocation_ratio=message.allocation_ratio or 1.0,
    )
