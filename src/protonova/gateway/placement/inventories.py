"""Inventories of a provider.

History: 1.5 all can be deleted at once; 1.26 everything may be reserved.
"""

from __future__ import annotations

from typing import Any

from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.placement.providers import NO_QUERY, location
from protonova.gateway.placement.types import (
    CLASS_NAME,
    GENERATION,
    INVENTORIES,
    INVENTORY,
    INVENTORY_FIELDS,
)
from protonova.gateway.request import Request, Response
from protonova.gateway.schema import INTEGER, MOST, Field, Map, Obj
from protonova.gateway.versions import Window
from protonova.placement.v1 import resource_provider_pb2 as pb
from protonova.services.runtime import errors

RULES = "placement:resource_providers:inventories"
ALL = "/resource_providers/{uuid}/inventories"
ONE = "/resource_providers/{uuid}/inventories/{resource_class}"
FULL_RESERVATION = Window.parse("1.26-")

inventories = Resource("inventories")

_SEEN = Field("resource_provider_generation", GENERATION, required=True)
CREATE = Obj(
    Field("resource_class", CLASS_NAME, required=True),
    Field("resource_provider_generation", GENERATION),
    *INVENTORY_FIELDS,
)
REPLACE = Obj(_SEEN, Field("inventories", INVENTORIES, required=True))
UPDATE = Obj(_SEEN, *INVENTORY_FIELDS)
MANY = Obj(
    Field("resource_provider_generation", INTEGER, required=True),
    Field("inventories", Map("", INVENTORY), required=True),
)
SINGLE = Obj(Field("resource_provider_generation", INTEGER, required=True), *INVENTORY_FIELDS)


def record(inventory: pb.Inventory) -> dict[str, Any]:
    """An inventory as it is shown, with what was left out filled in."""
    return {
        "total": inventory.total,
        "reserved": inventory.reserved,
        "min_unit": inventory.min_unit or 1,
        "max_unit": inventory.max_unit or MOST,
        "step_size": inventory.step_size or 1,
        "allocation_ratio": inventory.allocation_ratio or 1.0,
    }


def inventory_of(body: dict[str, Any]) -> pb.Inventory:
    # Whole numbers may be written with a point.
    return pb.Inventory(
        total=int(body["total"]),
        reserved=int(body.get("reserved", 0)),
        min_unit=int(body.get("min_unit", 1)),
        max_unit=int(body.get("max_unit", MOST)),
        step_size=int(body.get("step_size", 1)),
        allocation_ratio=body.get("allocation_ratio", 1.0),
    )


def _change(
    request: Request,
    change: pb.InventoryChange.ValueType,
    given: dict[str, pb.Inventory],
    generation: int | None = None,
) -> pb.UpdateInventoriesResponse:
    wanted = pb.UpdateInventoriesRequest(
        id=request.args["uuid"],
        change=change,
        inventories=given,
        allow_full_reservation=request.version in FULL_RESERVATION,
    )
    if generation is not None:
        wanted.generation = generation
    return request.services.providers.UpdateInventories(wanted)


def _single(answer: Any, name: str) -> dict[str, Any]:
    return {"resource_provider_generation": answer.generation, **record(answer.inventories[name])}


def _many(answer: Any) -> dict[str, Any]:
    return {
        "resource_provider_generation": answer.generation,
        "inventories": {name: record(inventory) for name, inventory in answer.inventories.items()},
    }


def _get(request: Request) -> pb.GetInventoriesResponse:
    return request.services.providers.GetInventories(pb.GetInventoriesRequest(id=request.args["uuid"]))


@inventories.get(ALL, "list", policy=f"{RULES}:list", query=NO_QUERY, answer=MANY)
def index(request: Request) -> dict[str, Any]:
    """List a provider's inventories."""
    return _many(_get(request))


@inventories.post(
    ALL, "create", policy=f"{RULES}:create", query=NO_QUERY, body=CREATE, answer=SINGLE, status=201
)
def create(request: Request) -> Response:
    """Add an inventory."""
    name = request.body["resource_class"]
    made = _change(request, pb.INVENTORY_CHANGE_ADD, {name: inventory_of(request.body)})
    path = f"/resource_providers/{request.args['uuid']}/inventories/{name}"
    return Response(_single(made, name), headers=location(request, path))


@inventories.put(ALL, "replace", policy=f"{RULES}:update", query=NO_QUERY, body=REPLACE, answer=MANY)
def replace(request: Request) -> dict[str, Any]:
    """Replace all inventories."""
    given = {name: inventory_of(body) for name, body in request.body["inventories"].items()}
    generation = int(request.body["resource_provider_generation"])
    return _many(_change(request, pb.INVENTORY_CHANGE_REPLACE_ALL, given, generation))


@inventories.delete(ALL, "delete_all", since="1.5", policy=f"{RULES}:delete", query=NO_QUERY, status=204)
def delete_all(request: Request) -> None:
    """Delete all inventories."""
    _change(request, pb.INVENTORY_CHANGE_REPLACE_ALL, {})


@inventories.get(ONE, "show", policy=f"{RULES}:show", query=NO_QUERY, answer=SINGLE)
def show(request: Request) -> dict[str, Any]:
    """Show an inventory."""
    found = _get(request)
    name = request.args["resource_class"]
    if name not in found.inventories:
        raise Fault(404, f"Provider {request.args['uuid']} has no inventory of {name}.")
    return _single(found, name)


@inventories.put(ONE, "update", policy=f"{RULES}:update", query=NO_QUERY, body=UPDATE, answer=SINGLE)
def update(request: Request) -> dict[str, Any]:
    """Change an inventory that is there."""
    name = request.args["resource_class"]
    given = {name: inventory_of(request.body)}
    generation = int(request.body["resource_provider_generation"])
    try:
        changed = _change(request, pb.INVENTORY_CHANGE_UPDATE, given, generation)
    except errors.Error as error:
        if error.reason == "INVENTORY_NOT_FOUND":
            raise Fault(400, error.message, reason=error.reason) from error
        raise
    return _single(changed, name)


@inventories.delete(ONE, "delete", policy=f"{RULES}:delete", query=NO_QUERY, status=204)
def delete(request: Request) -> None:
    """Delete an inventory."""
    try:
        _change(request, pb.INVENTORY_CHANGE_REMOVE, {request.args["resource_class"]: pb.Inventory()})
    except errors.Error as error:
        if error.reason == "INVENTORY_IN_USE":
            # Here, and only here, use is told by the code of a concurrent update.
            raise Fault(409, error.message, reason="CONCURRENT_UPDATE") from error
        raise
