"""Ports that are plugged into servers. History: 2.49 tags; 2.70 they are shown."""

from __future__ import annotations

from typing import Any

from protonova.api.v1 import server_device_pb2 as api
from protonova.common.v1.server_device_pb2 import ServerInterface
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import IP, STRING, STRING_OR_NULL, TAG, UUID, Arr, Field, Obj, View
from protonova.gateway.validation import canonical_address

PATH = "/servers/{server_id}/os-interface"
ONE_PATH = PATH + "/{port_id}"
RULES = "os_compute_api:os-attach-interfaces"
EXTERNAL = "network:attach_external_network"

interfaces = Resource("servers.os-interface")

_ADDRESS = Obj(Field("ip_address", IP, required=True), Field("subnet_id", UUID, required=True))


def _addresses(shown: ServerInterface, _: Request) -> list[dict[str, str]]:
    return [
        {"ip_address": fixed.address, "subnet_id": fixed.subnet_id} for fixed in shown.interface.addresses
    ]


INTERFACE = View(
    Field("port_id", UUID, lambda i, _: i.interface.port_id, required=True),
    Field("net_id", UUID, lambda i, _: i.interface.network_id, required=True),
    Field("mac_addr", STRING, lambda i, _: i.interface.mac_address, required=True),
    Field("port_state", STRING, lambda i, _: i.port_state, required=True),
    Field("fixed_ips", Arr(_ADDRESS).or_null(), _addresses, required=True),
    Field("tag", STRING_OR_NULL, lambda i, _: i.interface.tag or None, since="2.70", required=True),
)
ONE = Obj(Field("interfaceAttachment", INTERFACE, required=True))
ATTACH = Obj(
    Field(
        "interfaceAttachment",
        Obj(
            Field("net_id", UUID),
            Field("port_id", UUID),
            Field("fixed_ips", Arr(Obj(Field("ip_address", IP, required=True)), minItems=1, maxItems=1)),
            Field("tag", TAG, since="2.49"),
        ),
    )
)


@interfaces.get(
    PATH,
    "index",
    policy=f"{RULES}:list",
    answer=Obj(Field("interfaceAttachments", Arr(INTERFACE), required=True)),
)
def index(request: Request) -> dict[str, Any]:
    """List the ports that are plugged into a server."""
    asked = api.ListServerInterfacesRequest(server_id=request.args["server_id"])
    found = request.services.devices.ListServerInterfaces(asked).interfaces
    return {"interfaceAttachments": request.show_all(INTERFACE, found)}


@interfaces.get(ONE_PATH, "show", policy=f"{RULES}:show", answer=ONE)
def show(request: Request) -> dict[str, Any]:
    """Show a port that is plugged into a server."""
    asked = api.GetServerInterfaceRequest(
        server_id=request.args["server_id"], port_id=request.args["port_id"]
    )
    found = request.services.devices.GetServerInterface(asked).interface
    return {"interfaceAttachment": request.show(INTERFACE, found)}


@interfaces.post(PATH, "create", policy=f"{RULES}:create", body=ATTACH, answer=ONE)
def attach(request: Request) -> dict[str, Any]:
    """Plug a port into a server."""
    body = request.body.get("interfaceAttachment") or {}
    network, port, fixed = body.get("net_id", ""), body.get("port_id", ""), body.get("fixed_ips", ())
    if network and port:
        raise Fault(400, "interfaceAttachment: net_id and port_id exclude each other.")
    if fixed and not network:
        raise Fault(400, "interfaceAttachment.fixed_ips: the network (net_id) of the address is not named.")
    asked = api.AttachInterfaceRequest(
        server_id=request.args["server_id"],
        network_id=network,
        port_id=port,
        fixed_address=canonical_address(fixed[0]["ip_address"]) if fixed else "",
        tag=body.get("tag", ""),
        allow_external_network=request.allowed(EXTERNAL),
    )
    found = request.services.devices.AttachInterface(asked).interface
    return {"interfaceAttachment": request.show(INTERFACE, found)}


@interfaces.delete(ONE_PATH, "delete", policy=f"{RULES}:delete", status=202)
def detach(request: Request) -> None:
    """Take a port out of a server."""
    asked = api.DetachInterfaceRequest(server_id=request.args["server_id"], port_id=request.args["port_id"])
    request.services.devices.DetachInterface(asked)
