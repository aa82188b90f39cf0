"""Aggregates of hosts (os-aggregates).

History: 2.41 uuid; 2.81 images; 2.102 a strict query.
"""

from __future__ import annotations

from typing import Any

from protonova.api.v1 import aggregate_pb2 as api
from protonova.gateway import times
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import (
    FQDN,
    INTEGER,
    METADATA_KEY,
    MICROTIME,
    MICROTIME_OR_NULL,
    NAME,
    NULL,
    STRING,
    STRING_OR_NULL,
    TRUE_FALSE,
    UUID,
    ZONE_NAME,
    Arr,
    Field,
    Map,
    Obj,
    Plain,
    View,
    natural,
)
from protonova.services.runtime import errors

RULES = "os_compute_api:os-aggregates"
ZONE = "availability_zone"

_ALL = "/os-aggregates"
_ONE = "/os-aggregates/{aggregate_id}"
_ACTION = "/os-aggregates/{aggregate_id}/action"

aggregates = Resource("os-aggregates")

_FIELDS = (
    Field("id", INTEGER, lambda a, _: a.number, required=True),
    Field("uuid", UUID, lambda a, _: a.id, since="2.41", required=True),
    Field("name", STRING, lambda a, _: a.name, required=True),
    Field(ZONE, STRING_OR_NULL, lambda a, _: a.metadata.get(ZONE), required=True),
    Field("created_at", MICROTIME, lambda a, _: times.field_micro(a, "created_at"), required=True),
    Field("updated_at", MICROTIME_OR_NULL, lambda a, _: times.field_micro(a, "updated_at"), required=True),
    # One that is deleted is gone.
    Field("deleted", TRUE_FALSE, lambda *_: False, required=True),
    Field("deleted_at", NULL, lambda *_: None, required=True),
)
CREATED = View(*_FIELDS)
AGGREGATE = View(
    *_FIELDS,
    Field("hosts", Arr(STRING), lambda a, _: list(a.hosts), required=True),
    Field("metadata", Map("", STRING), lambda a, _: dict(sorted(a.metadata.items())), required=True),
)
ANSWER = Obj(Field("aggregate", AGGREGATE, required=True))

_ZONE_NAME = ZONE_NAME.or_null()
# Blanks around the name of an aggregate that is changed are taken away.
_LOOSE_NAME = Plain(type="string", minLength=1, maxLength=255, format="printable", pattern=r"\S")
CREATE = Obj(
    Field("aggregate", Obj(Field("name", NAME, required=True), Field(ZONE, _ZONE_NAME)), required=True)
)
UPDATE = Obj(
    Field(
        "aggregate", Obj(Field("name", _LOOSE_NAME), Field(ZONE, _ZONE_NAME), minProperties=1), required=True
    )
)
_HOST = Obj(Field("host", FQDN, required=True))
ADD_HOST = Obj(Field("add_host", _HOST, required=True))
REMOVE_HOST = Obj(Field("remove_host", _HOST, required=True))
SET_METADATA = Obj(
    Field(
        "set_metadata",
        Obj(
            Field("metadata", Map(METADATA_KEY, Plain(type=["string", "null"], maxLength=255)), required=True)
        ),
        required=True,
    )
)
_IMAGE = Obj(Field("id", UUID, required=True))
IMAGES = Obj(Field("cache", Arr(_IMAGE, minItems=1, uniqueItems=True), required=True))


def _number(request: Request) -> int:
    aggregate_id = request.args["aggregate_id"]
    number = natural(aggregate_id.removeprefix("-"))
    if number is not None and aggregate_id.startswith("-"):
        raise Fault(404, f"There is no aggregate {aggregate_id}.")
    if number is None:
        raise Fault(400, f"'{aggregate_id}' is not the number of an aggregate.")
    return number


def _shown(request: Request, aggregate: api.Aggregate) -> dict[str, Any]:
    return {"aggregate": request.show(AGGREGATE, aggregate)}


def _update(request: Request, wanted: api.UpdateAggregateRequest) -> dict[str, Any]:
    try:
        changed = request.services.aggregates.UpdateAggregate(wanted).aggregate
    except errors.FailedPrecondition as refusal:
        # Where it is a host that comes or goes, the same is a conflict.
        if refusal.reason != "AGGREGATE_ZONE_CONFLICT":
            raise
        raise Fault(400, refusal.message, reason=refusal.reason) from None
    return _shown(request, changed)


@aggregates.get(
    _ALL,
    "index",
    policy=f"{RULES}:index",
    answer=Obj(Field("aggregates", Arr(AGGREGATE), required=True)),
)
def index(request: Request) -> dict[str, Any]:
    """List aggregates."""
    found = request.services.aggregates.ListAggregates(api.ListAggregatesRequest()).aggregates
    return {"aggregates": request.show_all(AGGREGATE, found)}


@aggregates.post(
    _ALL,
    "create",
    policy=f"{RULES}:create",
    body=CREATE,
    answer=Obj(Field("aggregate", CREATED, required=True)),
)
def create(request: Request) -> dict[str, Any]:
    """Create an aggregate."""
    body = request.body["aggregate"]
    wanted = api.CreateAggregateRequest(name=body["name"], availability_zone=body.get(ZONE) or "")
    made = request.services.aggregates.CreateAggregate(wanted).aggregate
    return {"aggregate": request.show(CREATED, made)}


@aggregates.get(_ONE, "show", policy=f"{RULES}:show", answer=ANSWER)
def show(request: Request) -> dict[str, Any]:
    """Show an aggregate."""
    wanted = api.GetAggregateRequest(number=_number(request))
    return _shown(request, request.services.aggregates.GetAggregate(wanted).aggregate)


@aggregates.put(_ONE, "update", policy=f"{RULES}:update", body=UPDATE, answer=ANSWER)
def update(request: Request) -> dict[str, Any]:
    """Rename an aggregate or change its zone."""
    body = request.body["aggregate"]
    wanted = api.UpdateAggregateRequest(number=_number(request))
    if "name" in body:
        wanted.name = body["name"].strip()
    if body.get(ZONE) is not None:
        wanted.set_metadata[ZONE] = body[ZONE]
    elif ZONE in body:
        wanted.unset_metadata.append(ZONE)
    return _update(request, wanted)


@aggregates.delete(_ONE, "delete", policy=f"{RULES}:delete")
def delete(request: Request) -> None:
    """Delete an aggregate."""
    request.services.aggregates.DeleteAggregate(api.DeleteAggregateRequest(number=_number(request)))


@aggregates.action(_ACTION, "add_host", policy=f"{RULES}:add_host", body=ADD_HOST, answer=ANSWER)
def add_host(request: Request) -> dict[str, Any]:
    """Put a host into an aggregate."""
    wanted = api.AddAggregateHostRequest(number=_number(request), host=request.body["add_host"]["host"])
    return _shown(request, request.services.aggregates.AddAggregateHost(wanted).aggregate)


@aggregates.action(_ACTION, "remove_host", policy=f"{RULES}:remove_host", body=REMOVE_HOST, answer=ANSWER)
def remove_host(request: Request) -> dict[str, Any]:
    """Take a host out of an aggregate."""
    wanted = api.RemoveAggregateHostRequest(number=_number(request), host=request.body["remove_host"]["host"])
    return _shown(request, request.services.aggregates.RemoveAggregateHost(wanted).aggregate)


@aggregates.action(_ACTION, "set_metadata", policy=f"{RULES}:set_metadata", body=SET_METADATA, answer=ANSWER)
def set_metadata(request: Request) -> dict[str, Any]:
    """Set metadata of an aggregate; null takes a key away."""
    wanted = api.UpdateAggregateRequest(number=_number(request))
    for key, value in request.body["set_metadata"]["metadata"].items():
        if value is None:
            wanted.unset_metadata.append(key)
        else:
            wanted.set_metadata[key] = value
    return _update(request, wanted)


@aggregates.post(
    "/os-aggregates/{aggregate_id}/images",
    "images",
    since="2.81",
    policy="compute:aggregates:images",
    body=IMAGES,
    status=202,
)
def images(request: Request) -> None:
    """Have images cached on the hosts of an aggregate."""
    ids = [image["id"] for image in request.body["cache"]]
    wanted = api.CacheAggregateImagesRequest(number=_number(request), image_ids=ids)
    request.services.aggregates.CacheAggregateImages(wanted)
