"""Versions and extensions of Network, and what it says of zones, agents and free addresses."""

import ipaddress
import sqlite3
from typing import Any

from flask import Response, request

from protonova.companions import store, web
from protonova.companions.caller import caller
from protonova.companions.cloud import cloud
from protonova.companions.fault import Fault
from protonova.companions.network.networks import NETWORK
from protonova.companions.network.routes import blueprint, read

_EXTENSIONS = {
    "agent": "Agents",
    "allowed-address-pairs": "Allowed address pairs of ports",
    "availability_zone": "Availability Zone",
    "binding": "Binding of ports to hosts",
    "binding-extended": "Several bindings of one port",
    "empty-string-filtering": "Filters on empty text",
    "external-net": "External networks",
    "extra_dhcp_opt": "DHCP options of ports",
    "extraroute": "Routes of routers",
    "ext-gw-mode": "Source NAT of router gateways",
    "fip-port-details": "Port details of floating IPs",
    "ip-substring-filtering": "Filters on parts of addresses",
    "net-mtu": "MTU of networks",
    "net-mtu-writable": "MTU of networks, to be set",
    "network-ip-availability": "Free addresses of networks",
    "network_availability_zone": "Network Availability Zone",
    "pagination": "Pages",
    "port-mac-address-regenerate": "A new MAC address for a port",
    "port-security": "Security of ports",
    "project-id": "project_id beside tenant_id",
    "provider": "Provider attributes of networks",
    "quotas": "Quotas",
    "quota_details": "Usage of quotas",
    "router": "Routers and floating IPs",
    "router_availability_zone": "Availability zones of routers",
    "security-group": "Security groups",
    "security-groups-normalized-cidr": "Normal form of prefixes in rules",
    "sorting": "Sorting",
    "standard-attr-description": "Descriptions",
    "standard-attr-revisions": "Revision numbers",
    "standard-attr-tag": "Tags",
    "standard-attr-timestamp": "Times of creation and change",
    "stateful-security-group": "Stateful security groups",
}


def _version() -> dict[str, Any]:
    return {
        "id": "v2.0",
        "status": "CURRENT",
        "links": [{"rel": "self", "href": f"{cloud().settings.public_url}/network/v2.0/"}],
    }


@blueprint.get("/", strict_slashes=False)
def versions() -> Response:
    return web.answer({"versions": [_version()]})


@blueprint.get("/v2.0/", strict_slashes=False)
def resources() -> Response:
    base = f"{cloud().settings.public_url}/network/v2.0"
    names = (
        "network",
        "subnet",
        "port",
        "security_group",
        "security_group_rule",
        "router",
        "floatingip",
        "quota",
    )
    return web.answer(
        {
            "resources": [
                {
                    "name": name,
                    "collection": f"{name}s",
                    "links": [{"rel": "self", "href": f"{base}/{name.replace('_', '-')}s"}],
                }
                for name in names
            ]
        }
    )


def _extension(alias: str) -> dict[str, Any]:
    name = _EXTENSIONS[alias]
    return {
        "alias": alias,
        "name": name,
        "description": name,
        "updated": "2026-01-01T00:00:00-00:00",
        "links": [],
    }


@blueprint.get("/v2.0/extensions")
def list_extensions() -> Response:
    caller()
    return web.answer({"extensions": [_extension(alias) for alias in _EXTENSIONS]})


@blueprint.get("/v2.0/extensions/<alias>")
def show_extension(alias: str) -> Response:
    caller()
    if alias not in _EXTENSIONS:
        raise Fault(404, f"Extension with alias {alias} does not exist", "ExtensionNotFound")
    return web.answer({"extension": _extension(alias)})


@blueprint.get("/v2.0/availability_zones")
def list_zones() -> Response:
    caller()
    name = cloud().settings.availability_zone
    zones = [{"name": name, "resource": resource, "state": "available"} for resource in ("network", "router")]
    wanted = request.args.getlist("resource")
    return web.answer(
        {"availability_zones": [zone for zone in zones if not wanted or zone["resource"] in wanted]}
    )


@blueprint.get("/v2.0/agents")
def list_agents() -> Response:
    """There are none: nothing but this process serves networks."""
    caller()
    return web.answer({"agents": []})


@blueprint.get("/v2.0/agents/<ident>")
def show_agent(ident: str) -> Response:
    caller()
    raise Fault(404, f"Agent {ident} could not be found", "AgentNotFound")


def _availability(db: sqlite3.Connection, network: store.Row) -> dict[str, Any]:
    subnets = []
    for row in store.select(db, "subnets", store.Where(network_id=network["id"])):
        size = ipaddress.ip_network(row["cidr"]).num_addresses
        subnets.append(
            {
                "subnet_id": row["id"],
                "subnet_name": row["name"],
                "ip_version": row["ip_version"],
                "cidr": row["cidr"],
                "total_ips": size - 2 - bool(row["gateway_ip"]) if size > 2 else size,
                "used_ips": store.count(db, "addresses", subnet_id=row["id"]),
            }
        )
    return {
        "network_id": network["id"],
        "network_name": network["name"],
        "project_id": network["project_id"],
        "tenant_id": network["project_id"],
        "total_ips": sum(subnet["total_ips"] for subnet in subnets),
        "used_ips": sum(subnet["used_ips"] for subnet in subnets),
        "subnet_ip_availability": subnets,
    }


@blueprint.get("/v2.0/network-ip-availabilities")
def list_availabilities() -> Response:
    caller().require_admin()
    where = store.Where()
    for name, column in (("network_id", "id"), ("network_name", "name"), ("project_id", "project_id")):
        if name in request.args:
            where.equals(column, request.args[name])
    rows = read(lambda db: [_availability(db, row) for row in store.select(db, "networks", where)])
    return web.answer({"network_ip_availabilities": rows})


@blueprint.get("/v2.0/network-ip-availabilities/<ident>")
def show_availability(ident: str) -> Response:
    caller().require_admin()

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        row = store.find(db, "networks", id=ident)
        if row is None:
            raise NETWORK.missing(ident)
        return _availability(db, row)

    return web.answer({"network_ip_availability": read(work)})
