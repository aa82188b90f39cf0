"""Addresses of servers by network."""

from __future__ import annotations

from typing import Any

from protonova.gateway.compute.server_view import addresses_of
from protonova.gateway.compute.servers import find
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import IP, Arr, Field, Map, Obj, one_of

ips = Resource("servers.ips")

ADDRESSES = Map("", Arr(Obj(Field("addr", IP, required=True), Field("version", one_of(4, 6), required=True))))


@ips.get(
    "/servers/{server_id}/ips",
    "index",
    policy="os_compute_api:ips:index",
    answer=Obj(Field("addresses", ADDRESSES, required=True)),
)
def index(request: Request) -> dict[str, Any]:
    """List a server's addresses."""
    return {"addresses": addresses_of(find(request), typed=False)}


@ips.get(
    "/servers/{server_id}/ips/{network_label}",
    "show",
    policy="os_compute_api:ips:show",
    answer=ADDRESSES,
)
def show(request: Request) -> dict[str, Any]:
    """List a server's addresses in one network."""
    label = request.args["network_label"]
    networks = addresses_of(find(request), typed=False)
    if label not in networks:
        raise Fault(404, f"Server {request.args['server_id']} has no address in a network named '{label}'.")
    return {label: networks[label]}
