"""Allocations of consumers, and many inventories and allocations changed at once (the reshaper).

History: 1.8 project and user; 1.12 a map by provider; 1.13 many consumers at once; 1.28 generations of
consumers; 1.30 the reshaper; 1.34 mappings (taken and not kept); 1.38 types of consumers.
"""

from __future__ import annotations

from typing import Any

from protonova.common.v1.resources_pb2 import AllocationSet, ResourceAmounts
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.placement import query
from protonova.gateway.placement.inventories import inventory_of
from protonova.gateway.placement.providers import NO_QUERY
from protonova.gateway.placement.types import AMOUNTS, GENERATION, HOLDER, INVENTORIES, UUID_KEY
from protonova.gateway.request import Request
from protonova.gateway.schema import INTEGER, OBJECT, STRING, UUID, Arr, Field, Map, Obj, View, text
from protonova.gateway.validation import is_uuid
from protonova.gateway.versions import Window
from protonova.placement.v1 import allocation_pb2 as pb
from protonova.services.runtime import errors

RULES = "placement:allocations"
ONE = "/allocations/{consumer_uuid}"
BY_MAP = Window.parse("1.12-")
CONSUMER_GENERATIONS = Window.parse("1.28-")

allocations = Resource("allocations")
reshaper = Resource("reshaper")

_LISTED = Arr(
    Obj(
        Field("resource_provider", Obj(Field("uuid", UUID, required=True)), required=True),
        Field("resources", AMOUNTS, required=True),
    ),
    minItems=1,
)
_HELD = Obj(Field("resources", AMOUNTS, required=True), Field("generation", GENERATION))
_MAPPINGS = Map(r"^[a-zA-Z0-9_-]{1,64}$|^$", Arr(UUID, minItems=1), minProperties=1)
_CONSUMER = (
    Field("project_id", HOLDER, since="1.8", required=True),
    Field("user_id", HOLDER, since="1.8", required=True),
    Field("consumer_generation", GENERATION.or_null(), since="1.28", required=True),
    Field("mappings", _MAPPINGS, since="1.34"),
    Field("consumer_type", text(1, 255, r"^[A-Z0-9_]+$"), since="1.38", required=True),
)
_ANY_NUMBER = Map(UUID_KEY, _HELD)
SET = Obj(
    Field("allocations", _LISTED, until="1.11", required=True),
    Field("allocations", Map(UUID_KEY, _HELD, minProperties=1), since="1.12", until="1.27", required=True),
    Field("allocations", _ANY_NUMBER, since="1.28", required=True),
    *_CONSUMER,
)
_ONE_OF_MANY = Obj(Field("allocations", _ANY_NUMBER, required=True), *_CONSUMER)
SET_MANY = Map(UUID_KEY, _ONE_OF_MANY, minProperties=1)
RESHAPE = Obj(
    Field(
        "inventories",
        Map(
            UUID_KEY,
            Obj(
                Field("resource_provider_generation", GENERATION, required=True),
                Field("inventories", INVENTORIES, required=True),
            ),
            minProperties=1,
        ),
        required=True,
    ),
    Field("allocations", Map(UUID_KEY, _ONE_OF_MANY), required=True),
)

SHOWN = View(
    Field("project_id", STRING, lambda a, _: a.consumer.project_id, since="1.12"),
    Field("user_id", STRING, lambda a, _: a.consumer.user_id, since="1.12"),
    Field("consumer_generation", INTEGER, lambda a, _: a.consumer.generation, since="1.28"),
    Field("consumer_type", STRING, lambda a, _: a.consumer.consumer_type or "unknown", since="1.38"),
)


def _consumers(request: Request, given: dict[str, Any]) -> list[pb.ConsumerAllocations]:
    """What each consumer is to hold. A consumer that two spellings of its UUID name is refused."""
    ids = query.identifiers(given, "consumer")
    return [
        _consumer(request, consumer_id, body) for consumer_id, body in zip(ids, given.values(), strict=True)
    ]


def _consumer(request: Request, consumer_id: str, body: dict[str, Any]) -> pb.ConsumerAllocations:
    wanted = pb.ConsumerAllocations(
        consumer_id=consumer_id,
        allocations=_amounts(request, body["allocations"]),
        project_id=body.get("project_id", ""),
        user_id=body.get("user_id", ""),
        consumer_type=body.get("consumer_type", ""),
    )
    if request.version in CONSUMER_GENERATIONS:
        generation = body["consumer_generation"]
        if generation is None:
            wanted.generation_check = pb.GENERATION_CHECK_NEW
        else:
            wanted.generation_check = pb.GENERATION_CHECK_EXACT
            wanted.generation = int(generation)
    return wanted


def _amounts(request: Request, given: Any) -> AllocationSet:
    if request.version in BY_MAP:
        pairs = [(provider, held["resources"]) for provider, held in given.items()]
    else:
        pairs = [(held["resource_provider"]["uuid"], held["resources"]) for held in given]
    ids = query.identifiers([provider for provider, _ in pairs], "resource provider")
    held_by_provider = AllocationSet()
    for provider, (_, resources) in zip(ids, pairs, strict=True):
        # A whole number may be written with a point.
        amounts = {name: int(amount) for name, amount in resources.items()}
        held_by_provider.providers[provider].CopyFrom(ResourceAmounts(amounts=amounts))
    return held_by_provider


@allocations.get(ONE, "list", policy=f"{RULES}:list", query=NO_QUERY, answer=OBJECT)
def show(request: Request) -> dict[str, Any]:
    """Show what a consumer holds."""
    consumer_id = request.args["consumer_uuid"]
    found = request.services.allocations.GetAllocations(pb.GetAllocationsRequest(consumer_id=consumer_id))
    held = {
        provider: {
            "resources": dict(amounts.amounts),
            "generation": found.provider_generations.get(provider, 0),
        }
        for provider, amounts in found.consumer.allocations.providers.items()
    }
    if found.HasField("updated_at"):
        request.memo["last_modified"] = found.updated_at
    # An unknown consumer is not an error: it holds nothing.
    about = request.show(SHOWN, found) if held else {}
    return {"allocations": held, **about}


@allocations.put(ONE, "set_one", policy=f"{RULES}:update", query=NO_QUERY, body=SET, status=204)
def set_one(request: Request) -> None:
    """Replace what a consumer holds."""
    consumer_id = request.args["consumer_uuid"]
    if not is_uuid(consumer_id):
        raise Fault(400, f"'{consumer_id}' is not the UUID of a consumer.")
    wanted = pb.ReplaceAllocationsRequest(consumers=_consumers(request, {consumer_id: request.body}))
    request.services.allocations.ReplaceAllocations(wanted)


@allocations.post(
    "/allocations",
    "set_many",
    since="1.13",
    policy=f"{RULES}:manage",
    query=NO_QUERY,
    body=SET_MANY,
    status=204,
)
def set_many(request: Request) -> None:
    """Replace what several consumers hold, all or none."""
    wanted = pb.ReplaceAllocationsRequest(consumers=_consumers(request, request.body))
    request.services.allocations.ReplaceAllocations(wanted)


@allocations.delete(ONE, "delete", policy=f"{RULES}:delete", query=NO_QUERY, status=204)
def delete(request: Request) -> None:
    """Remove what a consumer holds."""
    request.services.allocations.DeleteAllocations(
        pb.DeleteAllocationsRequest(consumer_id=request.args["consumer_uuid"])
    )


@reshaper.post(
    "/reshaper",
    "reshape",
    since="1.30",
    policy="placement:reshaper:reshape",
    query=NO_QUERY,
    body=RESHAPE,
    status=204,
)
def reshape(request: Request) -> None:
    """Change inventories and allocations of many providers and consumers, all or none."""
    wanted = pb.ReshapeRequest(consumers=_consumers(request, request.body["allocations"]))
    shapes = request.body["inventories"]
    providers = query.identifiers(shapes, "resource provider")
    for provider, shape in zip(providers, shapes.values(), strict=True):
        generation = int(shape["resource_provider_generation"])
        inventory = wanted.inventories.add(provider_id=provider, generation=generation)
        for name, amounts in shape["inventories"].items():
            inventory.inventories[name].CopyFrom(inventory_of(amounts))
    try:
        request.services.allocations.Reshape(wanted)
    except errors.Error as error:
        if error.reason == "PROVIDER_NOT_FOUND" and error.facts.get("provider_id") in providers:
            raise Fault(400, error.message, reason="RESHAPED_PROVIDER_NOT_FOUND") from error
        raise
