"""Addresses given to servers and taken from them; clients after 2.43 ask the network service itself."""

from __future__ import annotations

from protonova.api.v1 import server_device_pb2 as api
from protonova.gateway.compute.server_actions import PATH
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import IP, Field, Obj, Plain
from protonova.gateway.validation import canonical_address

LAST = "2.43"
FIXED = "os_compute_api:os-multinic"
FLOATING = "os_compute_api:os-floating-ips"

addresses = Resource("servers.addresses")

_NETWORK = Plain(type=["string", "number"], minLength=1, maxLength=36)


def _body(action: str, *fields: Field) -> Obj:
    return Obj(Field(action, Obj(*fields), required=True))


_ADDRESS = Field("address", IP, required=True)


@addresses.action(
    PATH,
    "addFixedIp",
    until=LAST,
    policy=f"{FIXED}:add",
    body=_body("addFixedIp", Field("networkId", _NETWORK, required=True)),
    status=202,
)
def add_fixed(request: Request) -> None:
    """Give a server one more address of a network."""
    network = str(request.body["addFixedIp"]["networkId"])
    request.services.devices.AddFixedAddress(
        api.AddFixedAddressRequest(server_id=request.args["server_id"], network_id=network)
    )


@addresses.action(
    PATH,
    "removeFixedIp",
    until=LAST,
    policy=f"{FIXED}:remove",
    body=_body("removeFixedIp", _ADDRESS),
    status=202,
)
def remove_fixed(request: Request) -> None:
    """Take an address from a server."""
    address = canonical_address(request.body["removeFixedIp"]["address"])
    request.services.devices.RemoveFixedAddress(
        api.RemoveFixedAddressRequest(server_id=request.args["server_id"], address=address)
    )


@addresses.action(
    PATH,
    "addFloatingIp",
    until=LAST,
    policy=f"{FLOATING}:add",
    body=_body("addFloatingIp", _ADDRESS, Field("fixed_address", IP)),
    status=202,
)
def add_floating(request: Request) -> None:
    """Have a floating address lead to a server."""
    body = request.body["addFloatingIp"]
    request.services.devices.AddFloatingAddress(
        api.AddFloatingAddressRequest(
            server_id=request.args["server_id"],
            address=canonical_address(body["address"]),
            fixed_address=canonical_address(body.get("fixed_address")),
        )
    )


@addresses.action(
    PATH,
    "removeFloatingIp",
    until=LAST,
    policy=f"{FLOATING}:remove",
    body=_body("removeFloatingIp", _ADDRESS),
    status=202,
)
def remove_floating(request: Request) -> None:
    """Have a floating address lead to a server no more."""
    address = canonical_address(request.body["removeFloatingIp"]["address"])
    request.services.devices.RemoveFloatingAddress(
        api.RemoveFloatingAddressRequest(server_id=request.args["server_id"], address=address)
    )
