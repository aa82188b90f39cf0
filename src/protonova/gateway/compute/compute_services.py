"""Compute services (os-services).

History: 2.11 forced_down; 2.53 ids are UUIDs and one PUT takes the place of four; 2.69 services of a cell that
does not answer are listed with what is known of them; 2.75 strict queries.
"""

from __future__ import annotations

from typing import Any

from protonova.api.v1 import host_pb2 as api
from protonova.common.v1 import host_pb2 as pb
from protonova.gateway import times
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import (
    BOOLEAN,
    FQDN,
    INTEGER,
    MICROTIME_OR_NULL,
    STRING,
    STRING_OR_NULL,
    TRUE_FALSE,
    UUID,
    Arr,
    Either,
    Field,
    Obj,
    View,
    natural,
    one_of,
    text,
    truth,
)
from protonova.gateway.validation import Query, is_uuid
from protonova.gateway.versions import Window

RULES = "os_compute_api:os-services"
PARTIAL = Window.parse("2.69-")
FORCED_DOWN = Window.parse("2.11-")

services = Resource("os-services")

_BINARY = Field("binary", STRING, lambda s, _: s.binary, required=True)
_HOST = Field("host", STRING, lambda s, _: s.host, required=True)


def _status(service: pb.ComputeService, _: Request) -> str:
    return "disabled" if service.disabled else "enabled"


SERVICE = View(
    Field("id", INTEGER, lambda s, _: s.number, until="2.52", required=True),
    Field("id", UUID, lambda s, _: s.id, since="2.53", required=True),
    _BINARY,
    _HOST,
    Field("zone", STRING, lambda s, _: s.availability_zone, required=True),
    Field("status", one_of("enabled", "disabled"), _status, required=True),
    Field("state", one_of("up", "down"), lambda s, _: "up" if s.up else "down", required=True),
    Field("updated_at", MICROTIME_OR_NULL, lambda s, _: times.field_micro(s, "updated_at"), required=True),
    Field("disabled_reason", STRING_OR_NULL, lambda s, _: s.disabled_reason or None, required=True),
    Field("forced_down", TRUE_FALSE, lambda s, _: s.forced_down, since="2.11", required=True),
)
UNREACHABLE = View(_BINARY, _HOST, Field("status", one_of("UNKNOWN"), lambda *_: "UNKNOWN", required=True))

LIST_QUERY = Query(Field("host", STRING), Field("binary", STRING), strict="2.75")


@services.get(
    "/os-services",
    "index",
    policy=f"{RULES}:list",
    query=LIST_QUERY,
    answer=Obj(Field("services", Arr(Either(SERVICE, UNREACHABLE)), required=True)),
)
def index(request: Request) -> dict[str, Any]:
    """List compute services."""
    wanted = api.ListComputeServicesRequest(
        host=request.last("host") or "",
        binary=request.last("binary") or "",
        allow_partial=request.version in PARTIAL,
    )
    found = request.services.hosts.ListComputeServices(wanted).services
    return {
        "services": [request.show(UNREACHABLE if service.partial else SERVICE, service) for service in found]
    }


# The four words of a PUT until 2.52, each with what it changes and what it shows.
_WORDS = ("enable", "disable", "disable-log-reason", "force-down")
OLD_UPDATE = Obj(
    Field("host", FQDN, required=True),
    Field("binary", text(1, 255), required=True),
    Field("disabled_reason", text(1, 255)),
    Field("forced_down", BOOLEAN, since="2.11"),
)
OLD_ANSWER = Obj(
    Field(
        "service",
        Obj(
            Field("host", STRING, required=True),
            Field("binary", STRING, required=True),
            Field("status", STRING),
            Field("disabled_reason", STRING_OR_NULL),
            Field("forced_down", TRUE_FALSE),
        ),
        required=True,
    )
)


@services.put(
    "/os-services/{service_id}",
    "update_by_word",
    until="2.52",
    policy=f"{RULES}:update",
    body=OLD_UPDATE,
    answer=OLD_ANSWER,
)
def update_by_word(request: Request) -> dict[str, Any]:
    """Enable, disable or force down the service of a host."""
    word, body = request.args["service_id"], request.body
    if word not in _WORDS or (word == "force-down" and request.version not in FORCED_DOWN):
        raise Fault(404, f"There is nothing to be done to services by the word '{word}'.")
    wanted = api.UpdateComputeServiceRequest(host=body["host"], binary=body["binary"])
    shown: dict[str, Any] = {"host": body["host"], "binary": body["binary"]}
    if word == "force-down":
        if "forced_down" not in body:
            raise Fault(400, "The body lacks 'forced_down', which is required.")
        wanted.forced_down = shown["forced_down"] = truth(body["forced_down"])
    else:
        wanted.disabled = word != "enable"
        shown["status"] = "disabled" if wanted.disabled else "enabled"
        # Whatever was the reason before is one no more.
        wanted.disabled_reason = ""
    if word == "disable-log-reason":
        if "disabled_reason" not in body:
            raise Fault(400, "The body lacks 'disabled_reason', which is required.")
        wanted.disabled_reason = shown["disabled_reason"] = body["disabled_reason"]
    request.services.hosts.UpdateComputeService(wanted)
    return {"service": shown}


UPDATE = Obj(
    Field("status", one_of("enabled", "disabled")),
    Field("disabled_reason", text(1, 255)),
    Field("forced_down", BOOLEAN),
)


@services.put(
    "/os-services/{service_id}",
    "update",
    since="2.53",
    policy=f"{RULES}:update",
    body=UPDATE,
    answer=Obj(Field("service", SERVICE, required=True)),
)
def update(request: Request) -> dict[str, Any]:
    """Enable, disable or force down a service."""
    body = request.body
    if not body:
        raise Fault(400, "The body changes nothing: give status, disabled_reason or forced_down.")
    wanted = api.UpdateComputeServiceRequest(id=_uuid(request))
    if "disabled_reason" in body and body.get("status") != "disabled":
        raise Fault(400, "disabled_reason goes only with the status 'disabled'.")
    if "status" in body:
        wanted.disabled = body["status"] == "disabled"
        wanted.disabled_reason = body.get("disabled_reason", "")
    if "forced_down" in body:
        wanted.forced_down = truth(body["forced_down"])
    changed = request.services.hosts.UpdateComputeService(wanted).service
    return {"service": request.show(SERVICE, changed)}


def _uuid(request: Request) -> str:
    service_id = request.args["service_id"]
    if not is_uuid(service_id):
        raise Fault(400, f"'{service_id}' is not the UUID of a service.")
    return service_id


@services.delete(
    "/os-services/{service_id}", "delete_by_number", until="2.52", policy=f"{RULES}:delete", status=204
)
def delete_by_number(request: Request) -> None:
    """Forget a compute service."""
    service_id = request.args["service_id"]
    if (number := natural(service_id)) is None:
        raise Fault(400, f"'{service_id}' is not the number of a service.")
    request.services.hosts.DeleteComputeService(api.DeleteComputeServiceRequest(number=number))


@services.delete("/os-services/{service_id}", "delete", since="2.53", policy=f"{RULES}:delete", status=204)
def delete(request: Request) -> None:
    """Forget a compute service."""
    request.services.hosts.DeleteComputeService(api.DeleteComputeServiceRequest(id=_uuid(request)))
