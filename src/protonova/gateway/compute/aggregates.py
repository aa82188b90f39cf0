"""Aggregates of hosts: read only. None can be made yet, so there are none; clients that look whether a hypervisor
is in one are told so.

History: 2.41 uuid; 2.102 a strict query.
"""

from __future__ import annotations

from typing import Any, NoReturn

from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import (
    BOOLEAN,
    INTEGER,
    OBJECT,
    STRING,
    STRING_OR_NULL,
    TIME,
    TIME_OR_NULL,
    UUID,
    Arr,
    Field,
    Obj,
)

RULES = "os_compute_api:os-aggregates"

aggregates = Resource("os-aggregates")

AGGREGATE = Obj(
    Field("id", INTEGER, required=True),
    Field("uuid", UUID, since="2.41", required=True),
    Field("name", STRING, required=True),
    Field("availability_zone", STRING_OR_NULL, required=True),
    Field("hosts", Arr(STRING), required=True),
    Field("metadata", OBJECT, required=True),
    Field("created_at", TIME, required=True),
    Field("updated_at", TIME_OR_NULL, required=True),
    Field("deleted", BOOLEAN, required=True),
    Field("deleted_at", TIME_OR_NULL, required=True),
)


@aggregates.get(
    "/os-aggregates",
    "index",
    policy=f"{RULES}:index",
    answer=Obj(Field("aggregates", Arr(AGGREGATE), required=True)),
)
def index(_: Request) -> dict[str, Any]:
    """List aggregates."""
    return {"aggregates": []}


@aggregates.get(
    "/os-aggregates/{aggregate_id}",
    "show",
    policy=f"{RULES}:show",
    answer=Obj(Field("aggregate", AGGREGATE, required=True)),
)
def show(request: Request) -> NoReturn:
    """Show an aggregate."""
    raise Fault(404, f"Aggregate {request.args['aggregate_id']} could not be found.")
