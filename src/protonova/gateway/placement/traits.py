"""Traits, from 1.6 on."""

from __future__ import annotations

import re
from typing import Any

from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.placement.providers import NO_QUERY, location
from protonova.gateway.placement.types import STRICT
from protonova.gateway.request import Request, Response
from protonova.gateway.schema import STRING, Arr, Field, Obj
from protonova.gateway.validation import Query
from protonova.placement.v1 import trait_pb2 as pb

RULES = "placement:traits"
ONE = "/traits/{name}"

traits = Resource("traits")

_CUSTOM = re.compile(r"CUSTOM_[A-Z0-9_]{1,248}")
LIST_QUERY = Query(Field("name", STRING), Field("associated", STRING), strict=STRICT)


@traits.get(
    "/traits",
    "list",
    since="1.6",
    policy=f"{RULES}:list",
    query=LIST_QUERY,
    answer=Obj(Field("traits", Arr(STRING), required=True)),
)
def index(request: Request) -> dict[str, Any]:
    """List traits."""
    wanted = pb.ListTraitsRequest()
    name = request.last("name")
    if name is not None:
        operator, colon, value = name.partition(":")
        if not colon:
            raise Fault(400, f"name: '{name}' is neither in:<names> nor startswith:<prefix>.")
        if operator == "in":
            wanted.names.extend(value.split(","))
        elif operator == "startswith":
            wanted.prefix = value
    associated = request.last("associated")
    if associated is not None:
        if associated.lower() not in ("true", "false"):
            raise Fault(400, f"associated: '{associated}' is neither true nor false.")
        wanted.associated = associated.lower() == "true"
    return {"traits": list(request.services.traits.ListTraits(wanted).traits)}


@traits.get(ONE, "show", since="1.6", policy=f"{RULES}:show", query=NO_QUERY, status=204)
def show(request: Request) -> None:
    """Tell whether a trait exists."""
    name = request.args["name"]
    if not request.services.traits.ListTraits(pb.ListTraitsRequest(names=[name])).traits:
        raise Fault(404, f"There is no trait {name}.")


@traits.put(ONE, "ensure", since="1.6", policy=f"{RULES}:update", query=NO_QUERY, status=204)
def ensure(request: Request) -> Response:
    """Make sure that a custom trait exists."""
    name = request.args["name"]
    if _CUSTOM.fullmatch(name) is None:
        raise Fault(400, f"'{name}' is not the name of a custom trait: CUSTOM_ and A-Z, 0-9, _.")
    made = request.services.traits.EnsureTrait(pb.EnsureTraitRequest(name=name))
    return Response(code=201 if made.created else None, headers=location(request, f"/traits/{name}"))


@traits.delete(ONE, "delete", since="1.6", policy=f"{RULES}:delete", query=NO_QUERY, status=204)
def delete(request: Request) -> None:
    """Delete a custom trait."""
    request.services.traits.DeleteTrait(pb.DeleteTraitRequest(name=request.args["name"]))
