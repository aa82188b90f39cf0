"""Traits, aggregates, usages and allocations of one provider.

History: 1.1 aggregates, 1.6 traits; 1.19 aggregates carry the provider's generation; 1.28 allocations tell the
generation of their consumer.
"""

from __future__ import annotations

from typing import Any

from protonova.gateway.operation import Resource
from protonova.gateway.placement import query
from protonova.gateway.placement.providers import NO_QUERY
from protonova.gateway.placement.types import AGGREGATES, GENERATION
from protonova.gateway.request import Request
from protonova.gateway.schema import INTEGER, STRING, Arr, Field, Map, Obj, View, text
from protonova.placement.v1 import allocation_pb2
from protonova.placement.v1 import resource_provider_pb2 as pb

BASE = "/resource_providers/{uuid}"
RULES = "placement:resource_providers"

details = Resource("resource_provider")

_GENERATION = Field("resource_provider_generation", INTEGER, lambda a, _: a.generation, required=True)
TRAITS = View(_GENERATION, Field("traits", Arr(STRING), lambda a, _: list(a.traits), required=True))
AGGREGATES_SHOWN = View(
    Field("aggregates", AGGREGATES, lambda a, _: list(a.aggregates), required=True),
    _GENERATION.from_version("1.19"),
)
USAGES = View(_GENERATION, Field("usages", Map("", INTEGER), lambda a, _: dict(a.usages), required=True))
REPLACE_TRAITS = Obj(
    Field("traits", Arr(text(1, 255)), required=True),
    Field("resource_provider_generation", GENERATION, required=True),
)
REPLACE_AGGREGATES = Obj(
    Field("aggregates", AGGREGATES, required=True),
    Field("resource_provider_generation", GENERATION, required=True),
)


@details.get(
    f"{BASE}/traits", "traits.list", since="1.6", policy=f"{RULES}:traits:list", query=NO_QUERY, answer=TRAITS
)
def traits(request: Request) -> dict[str, Any]:
    """List a provider's traits."""
    wanted = pb.GetProviderTraitsRequest(id=request.args["uuid"])
    return request.show(TRAITS, request.services.providers.GetProviderTraits(wanted))


@details.put(
    f"{BASE}/traits",
    "traits.replace",
    since="1.6",
    policy=f"{RULES}:traits:update",
    query=NO_QUERY,
    body=REPLACE_TRAITS,
    answer=TRAITS,
)
def replace_traits(request: Request) -> dict[str, Any]:
    """Replace a provider's traits."""
    wanted = pb.ReplaceProviderTraitsRequest(
        id=request.args["uuid"],
        generation=int(request.body["resource_provider_generation"]),
        traits=request.body["traits"],
    )
    return request.show(TRAITS, request.services.providers.ReplaceProviderTraits(wanted))


@details.delete(
    f"{BASE}/traits",
    "traits.delete",
    since="1.6",
    policy=f"{RULES}:traits:delete",
    query=NO_QUERY,
    status=204,
)
def delete_traits(request: Request) -> None:
    """Remove all traits of a provider."""
    request.services.providers.ReplaceProviderTraits(pb.ReplaceProviderTraitsRequest(id=request.args["uuid"]))


@details.get(
    f"{BASE}/aggregates",
    "aggregates.list",
    since="1.1",
    policy=f"{RULES}:aggregates:list",
    query=NO_QUERY,
    answer=AGGREGATES_SHOWN,
)
def aggregates(request: Request) -> dict[str, Any]:
    """List a provider's aggregates."""
    wanted = pb.GetProviderAggregatesRequest(id=request.args["uuid"])
    return request.show(AGGREGATES_SHOWN, request.services.providers.GetProviderAggregates(wanted))


def _set_aggregates(request: Request, ids: list[str], generation: int | None) -> dict[str, Any]:
    wanted = pb.ReplaceProviderAggregatesRequest(
        id=request.args["uuid"], aggregates=[query.canonical(each) for each in ids]
    )
    if generation is not None:
        wanted.generation = generation
    return request.show(AGGREGATES_SHOWN, request.services.providers.ReplaceProviderAggregates(wanted))


@details.put(
    f"{BASE}/aggregates",
    "aggregates.set",
    since="1.1",
    until="1.18",
    policy=f"{RULES}:aggregates:update",
    query=NO_QUERY,
    body=AGGREGATES,
    answer=AGGREGATES_SHOWN,
)
def set_aggregates(request: Request) -> dict[str, Any]:
    """Replace a provider's aggregates."""
    return _set_aggregates(request, request.body, None)


@details.put(
    f"{BASE}/aggregates",
    "aggregates.replace",
    since="1.19",
    policy=f"{RULES}:aggregates:update",
    query=NO_QUERY,
    body=REPLACE_AGGREGATES,
    answer=AGGREGATES_SHOWN,
)
def replace_aggregates(request: Request) -> dict[str, Any]:
    """Replace a provider's aggregates, as long as nobody else changed the provider."""
    generation = int(request.body["resource_provider_generation"])
    return _set_aggregates(request, request.body["aggregates"], generation)


@details.get(f"{BASE}/usages", "usages.list", policy=f"{RULES}:usages", query=NO_QUERY, answer=USAGES)
def usages(request: Request) -> dict[str, Any]:
    """Show what is used of a provider."""
    wanted = pb.GetProviderUsagesRequest(id=request.args["uuid"])
    return request.show(USAGES, request.services.providers.GetProviderUsages(wanted))


HELD = View(
    Field("resources", Map("", INTEGER), lambda a, _: dict(a.resources.amounts), required=True),
    Field("consumer_generation", INTEGER, lambda a, _: a.consumer_generation, since="1.28", required=True),
)
ALLOCATIONS = Obj(
    Field("resource_provider_generation", INTEGER, required=True),
    Field("allocations", Map("", HELD), required=True),
)


@details.get(
    f"{BASE}/allocations",
    "allocations.list",
    policy=f"{RULES}:allocations:list",
    query=NO_QUERY,
    answer=ALLOCATIONS,
)
def allocations(request: Request) -> dict[str, Any]:
    """Show who holds what of a provider."""
    found = request.services.allocations.ListProviderAllocations(
        allocation_pb2.ListProviderAllocationsRequest(provider_id=request.args["uuid"])
    )
    return {
        "resource_provider_generation": found.provider_generation,
        "allocations": {held.consumer_id: request.show(HELD, held) for held in found.allocations},
    }
