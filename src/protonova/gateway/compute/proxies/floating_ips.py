"""Floating addresses and the pools (external networks) they come from."""

from __future__ import annotations

from typing import Any

from protonova.gateway.compute.proxies import LAST
from protonova.gateway.compute.proxies.asking import network
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import (
    NULL,
    STRING,
    STRING_OR_NULL,
    UUID,
    Arr,
    Either,
    Field,
    Obj,
    View,
)
from protonova.gateway.validation import Query, is_uuid
from protonova.services.runtime import errors

RULES = "os_compute_api:os-floating-ips"
PATH = "/os-floating-ips"
ONE_PATH = PATH + "/{floating_ip_id}"

floating_ips = Resource("os-floating-ips")
pools = Resource("os-floating-ip-pools")

FLOATING_IP = View(
    Field("id", UUID, lambda f, _: f["id"], required=True),
    Field("ip", STRING, lambda f, _: f["floating_ip_address"], required=True),
    Field("fixed_ip", STRING_OR_NULL, lambda f, _: f.get("fixed_ip_address"), required=True),
    Field("instance_id", STRING_OR_NULL, lambda f, _: f["device_id"] or None, required=True),
    Field("pool", STRING, lambda f, _: f["pool"], required=True),
)
ONE = Obj(Field("floating_ip", FLOATING_IP, required=True))
POOL = View(Field("name", STRING, lambda p, _: p["name"] or p["id"], required=True))


def _pools(request: Request) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = network(request).get("/networks", {"router:external": "true"})["networks"]
    return found


def _completed(request: Request, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the names of their pools and the servers they lead to."""
    names = {pool["id"]: pool["name"] or pool["id"] for pool in _pools(request)}
    wanted = sorted({one["port_id"] for one in found if one.get("port_id")})
    ports = network(request).get("/ports", {"id": wanted})["ports"] if wanted else []
    devices = {port["id"]: port.get("device_id") or "" for port in ports}
    return [
        {
            **one,
            "pool": names.get(one["floating_network_id"], one["floating_network_id"]),
            "device_id": devices.get(one.get("port_id"), ""),
        }
        for one in found
    ]


def _one(request: Request) -> dict[str, Any]:
    wanted = request.args["floating_ip_id"]
    if not is_uuid(wanted):
        raise Fault(404, f"Floating address {wanted} could not be found.")
    found: dict[str, Any] = network(request).get(f"/floatingips/{wanted}")["floatingip"]
    return found


@pools.get(
    "/os-floating-ip-pools",
    "index",
    until=LAST,
    policy="os_compute_api:os-floating-ip-pools",
    query=Query(),
    answer=Obj(Field("floating_ip_pools", Arr(POOL), required=True)),
)
def list_pools(request: Request) -> dict[str, Any]:
    """List the pools of floating addresses."""
    return {"floating_ip_pools": request.show_all(POOL, _pools(request))}


@floating_ips.get(
    PATH,
    "index",
    until=LAST,
    policy=f"{RULES}:list",
    query=Query(),
    answer=Obj(Field("floating_ips", Arr(FLOATING_IP), required=True)),
)
def index(request: Request) -> dict[str, Any]:
    """List the floating addresses of the project."""
    found = network(request).get("/floatingips", {"project_id": request.project_id})["floatingips"]
    return {"floating_ips": request.show_all(FLOATING_IP, _completed(request, found))}


@floating_ips.get(ONE_PATH, "show", until=LAST, policy=f"{RULES}:show", query=Query(), answer=ONE)
def show(request: Request) -> dict[str, Any]:
    """Show a floating address."""
    (found,) = _completed(request, [_one(request)])
    return {"floating_ip": request.show(FLOATING_IP, found)}


@floating_ips.post(
    PATH,
    until=LAST,
    policy=f"{RULES}:create",
    body=Either(NULL, Obj(Field("pool", STRING_OR_NULL))),
    answer=ONE,
)
def create(request: Request) -> dict[str, Any]:
    """Get a floating address."""
    wanted = (request.body or {}).get("pool")
    known = _pools(request)
    matching = [pool for pool in known if not wanted or wanted in (pool["id"], pool["name"])]
    if not matching:
        raise Fault(404, f"There is no pool of floating addresses named '{wanted or ''}'.")
    body = {"floating_network_id": matching[0]["id"], "project_id": request.project_id}
    try:
        made = network(request).post("/floatingips", {"floatingip": body})["floatingip"]
    except errors.FailedPrecondition as error:
        # No address is left in the pool.
        raise Fault(404, error.message) from error
    (found,) = _completed(request, [made])
    return {"floating_ip": request.show(FLOATING_IP, found)}


@floating_ips.delete(ONE_PATH, until=LAST, policy=f"{RULES}:delete", status=202)
def delete(request: Request) -> None:
    """Give a floating address back."""
    found = _one(request)
    network(request).delete(f"/floatingips/{found['id']}")
