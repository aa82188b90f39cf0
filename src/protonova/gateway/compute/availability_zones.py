"""Availability zones."""

from __future__ import annotations

from typing import Any

from protonova.api.v1 import host_pb2 as api
from protonova.gateway import times
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import NULL, OBJECT, STRING, TRUE_FALSE, Arr, Field, Obj, View

RULES = "os_compute_api:os-availability-zone"

zones = Resource("os-availability-zone")

_NAME = Field("zoneName", STRING, lambda z, _: z.name, required=True)
_STATE = Field(
    "zoneState",
    Obj(Field("available", TRUE_FALSE)),
    lambda z, _: {"available": z.available},
    required=True,
)


def _hosts(zone: api.AvailabilityZone, _: Request) -> dict[str, Any] | None:
    if not zone.available:
        return None
    hosts: dict[str, Any] = {}
    for service in zone.services:
        hosts.setdefault(service.host, {})[service.binary] = {
            "available": service.up,
            "active": not service.disabled,
            "updated_at": times.field_micro(service, "updated_at"),
        }
    return hosts


ZONE = View(_NAME, _STATE, Field("hosts", NULL, lambda *_: None, required=True))
ZONE_DETAIL = View(_NAME, _STATE, Field("hosts", OBJECT.or_null(), _hosts, required=True))


def _answer(view: View) -> Obj:
    return Obj(Field("availabilityZoneInfo", Arr(view), required=True))


@zones.get("/os-availability-zone", "index", policy=f"{RULES}:list", answer=_answer(ZONE))
def index(request: Request) -> dict[str, Any]:
    """List the zones servers can be put in."""
    found = request.services.hosts.ListAvailabilityZones(api.ListAvailabilityZonesRequest()).zones
    seen = [zone for zone in found if zone.name != request.settings.internal_zone]
    return {"availabilityZoneInfo": request.show_all(ZONE, seen)}


@zones.get("/os-availability-zone/detail", "detail", policy=f"{RULES}:detail", answer=_answer(ZONE_DETAIL))
def detail(request: Request) -> dict[str, Any]:
    """List all zones with their hosts and services."""
    wanted = api.ListAvailabilityZonesRequest(with_services=True)
    found = request.services.hosts.ListAvailabilityZones(wanted).zones
    return {"availabilityZoneInfo": request.show_all(ZONE_DETAIL, found)}
