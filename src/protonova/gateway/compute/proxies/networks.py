"""Networks, as clients of nova-network knew them: most of what that could tell is not known of today's."""

from __future__ import annotations

from typing import Any

from protonova.gateway.compute.proxies import LAST
from protonova.gateway.compute.proxies.asking import network
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import STRING, STRING_OR_NULL, UUID, Arr, Field, Obj, View
from protonova.gateway.validation import Query

NETWORKS = "os_compute_api:os-networks"
TENANT_NETWORKS = "os_compute_api:os-tenant-networks"

networks = Resource("os-networks")
tenant_networks = Resource("os-tenant-networks")

_UNKNOWN = ("broadcast", "cidr", "cidr_v6", "dns1", "dns2", "gateway", "gateway_v6", "netmask", "netmask_v6")

NETWORK = View(
    Field("id", STRING, lambda n, _: n["id"], required=True),
    Field("label", STRING, lambda n, _: n["name"], required=True),
    *(Field(name, STRING_OR_NULL, lambda *_: None, required=True) for name in _UNKNOWN),
)
TENANT_NETWORK = View(
    Field("id", UUID, lambda n, _: n["id"], required=True),
    Field("label", STRING, lambda n, _: n["name"], required=True),
    # The word, as such networks without a range were shown.
    Field("cidr", STRING, lambda *_: "None", required=True),
)


def _usable(request: Request) -> list[dict[str, Any]]:
    """The project's own networks and the shared ones."""
    found: list[dict[str, Any]] = network(request).get("/networks")["networks"]
    return [one for one in found if one.get("shared") or one.get("project_id") == request.project_id]


def _one(request: Request) -> dict[str, Any]:
    found: dict[str, Any] = network(request).get(f"/networks/{request.args['network_id']}")["network"]
    return found


def _declare(resource: Resource, path: str, rules: str, view: View) -> None:
    def index(request: Request) -> dict[str, Any]:
        """List networks."""
        return {"networks": request.show_all(view, _usable(request))}

    def show(request: Request) -> dict[str, Any]:
        """Show a network."""
        return {"network": request.show(view, _one(request))}

    many, one = Obj(Field("networks", Arr(view), required=True)), Obj(Field("network", view, required=True))
    usual: dict[str, Any] = {"until": LAST, "query": Query()}
    resource.get(path, "index", policy=f"{rules}:list", answer=many, **usual)(index)
    resource.get(path + "/{network_id}", "show", policy=f"{rules}:show", answer=one, **usual)(show)


_declare(networks, "/os-networks", NETWORKS, NETWORK)
_declare(tenant_networks, "/os-tenant-networks", TENANT_NETWORKS, TENANT_NETWORK)
