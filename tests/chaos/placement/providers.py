"""Makes providers through the service's stub."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from protonova.placement.v1 import resource_provider_pb2 as pb
from protonova.placement.v1 import resource_provider_pb2_grpc


def make_provider(
    stub: resource_provider_pb2_grpc.ResourceProviderServiceStub,
    *,
    id_: str = "",
    parent: str = "",
    inventories: Mapping[str, int] | None = None,
) -> str:
    id_ = id_ or str(uuid.uuid4())
    stub.CreateResourceProvider(pb.CreateResourceProviderRequest(id=id_, name=id_, parent_id=parent))
    if inventories:
        stub.UpdateInventories(
            pb.UpdateInventoriesRequest(
                id=id_, change=pb.INVENTORY_CHANGE_REPLACE_ALL, inventories=totals(inventories)
            )
        )
    return id_


def totals(inventories: Mapping[str, int]) -> dict[str, pb.Inventory]:
    return {name: pb.Inventory(total=total) for name, total in inventories.items()}
