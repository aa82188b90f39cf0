"""Routers, as records: their interfaces and gateways are real ports with real addresses, but nothing is routed."""

import ipaddress
import sqlite3
from typing import Any

import orjson
from flask import Response

from protonova.companions import store, web
from protonova.companions.caller import Caller, caller
from protonova.companions.fault import Fault, bad, conflict, forbidden
from protonova.companions.network import ports, quotas, values
from protonova.companions.network.networks import visible
from protonova.companions.network.resource import Attribute, Kind, born, touched
from protonova.companions.network.routes import (
    blueprint,
    created,
    listed,
    mine,
    one,
    owned,
    read,
    write,
    writer,
)

INTERFACE, GATEWAY = "network:router_interface", "network:router_gateway"
_ADDRESS = values.fields({"subnet_id": values.uuid, "ip_address": values.ip})
_GATEWAY = values.fields(
    {
        "network_id": values.null_or(values.uuid),
        "enable_snat": values.flag,
        "external_fixed_ips": values.many(_ADDRESS),
        "qos_policy_id": values.null_or(values.uuid),
    }
)
_ROUTE = values.fields(
    {"destination": values.cidr, "nexthop": values.ip}, required=("destination", "nexthop")
)

ROUTER = Kind(
    "router",
    "routers",
    "Router",
    {
        "admin_state_up": Attribute(values.flag, True),
        "external_gateway_info": Attribute(values.null_or(_GATEWAY), None),
        "routes": Attribute(values.null_or(values.many(_ROUTE)), [], create=False),
        "availability_zone_hints": Attribute(values.many(values.text()), [], update=False),
    },
    flags=frozenset(("admin_state_up",)),
    documents=frozenset(("tags", "external_gateway_info", "routes", "availability_zone_hints")),
    has_status=True,
)


def view(_: sqlite3.Connection, row: store.Row) -> dict[str, Any]:
    body = {**ROUTER.loaded(row), "availability_zones": ["nova"], "flavor_id": None}
    del body["gateway_port_id"]
    return body


@blueprint.get("/v2.0/routers")
def list_routers() -> Response:
    who = caller()
    return listed(ROUTER, who, owned(who), view)


@blueprint.get("/v2.0/routers/<ident>")
def show_router(ident: str) -> Response:
    who = caller()
    return one(ROUTER, who, read(lambda db: view(db, mine(db, ROUTER, who, ident))))


@blueprint.post("/v2.0/routers")
def create_router() -> Response:
    who = writer()
    wanted, bulk = ROUTER.requested(who)

    def work(db: sqlite3.Connection) -> list[dict[str, Any]]:
        bodies = []
        for entry in wanted:
            quotas.charge(db, "router", entry["project_id"])
            row = ROUTER.stored(
                {
                    **born(),
                    **entry,
                    "external_gateway_info": None,
                    "status": "ACTIVE",
                    "gateway_port_id": None,
                }
            )
            store.insert(db, "routers", row)
            if entry["external_gateway_info"]:
                row.update(_gateway(db, who, row, entry["external_gateway_info"]))
                store.update(db, "routers", row, id=row["id"])
            bodies.append(view(db, row))
        return bodies

    return created(ROUTER, who, write(work), bulk)


@blueprint.put("/v2.0/routers/<ident>")
def update_router(ident: str) -> Response:
    who = writer()
    changes = ROUTER.changes(who)

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        row = mine(db, ROUTER, who, ident)
        if "external_gateway_info" in changes:
            row.update(_gateway(db, who, row, changes["external_gateway_info"] or {}))
        if "routes" in changes:
            _reachable(db, row, changes["routes"] or [])
            row["routes"] = orjson.dumps(changes["routes"] or []).decode()
        plain = {
            name: value for name, value in changes.items() if name not in ("external_gateway_info", "routes")
        }
        row.update(ROUTER.stored({**plain, **touched(row)}))
        store.update(db, "routers", row, id=ident)
        return view(db, row)

    return one(ROUTER, who, write(work))


def _gateway(db: sqlite3.Connection, who: Caller, router: store.Row, given: dict[str, Any]) -> store.Row:
    """Give the router the gateway asked for, or none; tells the columns that change by it."""
    before = orjson.loads(router["external_gateway_info"]) or {}
    network_id = given.get("network_id")
    moved = network_id != before.get("network_id") or "external_fixed_ips" in given
    if before and moved:
        if store.count(db, "floatingips", router_id=router["id"]):
            raise conflict(
                f"Gateway cannot be updated for router {router['id']}, since floating IPs lead through it.",
                "RouterExternalGatewayInUseByFloatingIp",
            )
        store.delete(db, "ports", id=router["gateway_port_id"])
    if not network_id:
        return {"external_gateway_info": "null", "gateway_port_id": None}
    port_id = router["gateway_port_id"]
    fixed_ips = before.get("external_fixed_ips")
    if moved:
        network = visible(db, who, network_id)
        if not network["router:external"]:
            raise bad(f"Network {network_id} is not external.", "BadRequest")
        wanted = given.get("external_fixed_ips") or ports.UNSAID
        entry = ports.fresh(
            "", network_id=network_id, device_id=router["id"], device_owner=GATEWAY, fixed_ips=wanted
        )
        port = ports.make(db, network, entry)
        port_id, fixed_ips = port["id"], orjson.loads(port["fixed_ips"])
    info = {
        "network_id": network_id,
        "enable_snat": given.get("enable_snat", before.get("enable_snat", True)),
        "external_fixed_ips": fixed_ips,
    }
    return {"external_gateway_info": orjson.dumps(info).decode(), "gateway_port_id": port_id}


def interfaces(db: sqlite3.Connection, router_id: str) -> list[store.Row]:
    return store.select(db, "ports", store.Where(device_id=router_id, device_owner=INTERFACE))


def _reachable(db: sqlite3.Connection, router: store.Row, routes: list[dict[str, str]]) -> None:
    """The next hop of a route lies in a subnet the router is on."""
    subnet_ids = {
        entry["subnet_id"]
        for port in [
            *interfaces(db, router["id"]),
            *store.select(db, "ports", store.Where(id=router["gateway_port_id"])),
        ]
        for entry in orjson.loads(port["fixed_ips"])
    }
    networks = [
        ipaddress.ip_network((store.find(db, "subnets", id=ident) or {})["cidr"]) for ident in subnet_ids
    ]
    for route in routes:
        hop = ipaddress.ip_address(route["nexthop"])
        if not any(hop.version == network.version and hop in network for network in networks):
            raise bad(f"The next hop {hop} is on no subnet of the router.", "InvalidRoutes")


@blueprint.delete("/v2.0/routers/<ident>")
def delete_router(ident: str) -> Response:
    who = writer()

    def work(db: sqlite3.Connection) -> None:
        row = mine(db, ROUTER, who, ident)
        if interfaces(db, ident):
            raise conflict(f"Router {ident} still has ports", "RouterInUse")
        _gateway(db, who, row, {})
        store.delete(db, "routers", id=ident)

    write(work)
    return web.empty()


def _interface(router: store.Row, port: store.Row) -> Response:
    subnet_ids = [entry["subnet_id"] for entry in orjson.loads(port["fixed_ips"])]
    return web.answer(
        {
            "id": router["id"],
            "tenant_id": router["project_id"],
            "project_id": router["project_id"],
            "port_id": port["id"],
            "network_id": port["network_id"],
            "subnet_id": subnet_ids[0] if subnet_ids else None,
            "subnet_ids": subnet_ids,
            "tags": [],
        }
    )


def _told() -> tuple[str | None, str | None]:
    given = web.document()
    port_id, subnet_id = given.get("port_id"), given.get("subnet_id")
    if not port_id and not subnet_id:
        raise bad("Either subnet_id or port_id must be given.", "BadRequest")
    for name, value in (("port_id", port_id), ("subnet_id", subnet_id)):
        if value is not None:
            values.uuid(name, value)
    return port_id, subnet_id


@blueprint.put("/v2.0/routers/<ident>/add_router_interface")
def add_interface(ident: str) -> Response:
    who = writer()
    port_id, subnet_id = _told()
    if port_id and subnet_id:
        raise bad("Only one of subnet_id and port_id may be given.", "BadRequest")

    def work(db: sqlite3.Connection) -> tuple[store.Row, store.Row]:
        router = mine(db, ROUTER, who, ident)
        port = _by_port(db, who, router, port_id) if port_id else _by_subnet(db, who, router, subnet_id or "")
        return router, port

    return _interface(*write(work))


def _by_port(db: sqlite3.Connection, who: Caller, router: store.Row, port_id: str) -> store.Row:
    port = ports.seen(db, who, port_id)
    if port["device_id"]:
        raise conflict(
            f"Unable to complete operation on port {port_id}; it is used by {port['device_id']}.", "PortInUse"
        )
    entries = orjson.loads(port["fixed_ips"])
    if not entries:
        raise bad("Router port must have at least one fixed IP", "BadRequest")
    for entry in entries:
        _distinct(db, router, store.find(db, "subnets", id=entry["subnet_id"]) or {})
    port.update(device_id=router["id"], device_owner=INTERFACE, status="ACTIVE", security_groups="[]")
    store.delete(db, "port_security_groups", port_id=port_id)
    store.update(db, "ports", port, id=port_id)
    return port


def _by_subnet(db: sqlite3.Connection, who: Caller, router: store.Row, subnet_id: str) -> store.Row:
    subnet = store.find(db, "subnets", id=subnet_id)
    if subnet is None:
        raise Fault(404, f"Subnet {subnet_id} could not be found.", "SubnetNotFound")
    network = visible(db, who, subnet["network_id"])
    if not who.is_privileged and subnet["project_id"] != who.project_id:
        raise forbidden(f"Subnet {subnet_id} belongs to another project.")
    if not subnet["gateway_ip"]:
        raise bad(f"Subnet for router interface must have a gateway IP: {subnet_id}.", "BadRequest")
    _distinct(db, router, subnet)
    entry = ports.fresh(
        router["project_id"],
        network_id=network["id"],
        device_id=router["id"],
        device_owner=INTERFACE,
        fixed_ips=[{"subnet_id": subnet_id, "ip_address": subnet["gateway_ip"]}],
    )
    return ports.make(db, network, entry)


def _distinct(db: sqlite3.Connection, router: store.Row, subnet: store.Row) -> None:
    """A router is on a subnet once, and its subnets do not overlap."""
    network = ipaddress.ip_network(subnet["cidr"])
    for port in interfaces(db, router["id"]):
        for entry in orjson.loads(port["fixed_ips"]):
            other = store.find(db, "subnets", id=entry["subnet_id"]) or {}
            if ipaddress.ip_network(other["cidr"]).overlaps(network):
                raise bad(
                    f"Cidr {network} of subnet {subnet['id']} overlaps with cidr {other['cidr']} "
                    f"of subnet {other['id']}, which the router is on already.",
                    "BadRequest",
                )


@blueprint.put("/v2.0/routers/<ident>/remove_router_interface")
def remove_interface(ident: str) -> Response:
    who = writer()
    port_id, subnet_id = _told()

    def work(db: sqlite3.Connection) -> tuple[store.Row, store.Row]:
        router = mine(db, ROUTER, who, ident)
        for port in interfaces(db, ident):
            on = [entry["subnet_id"] for entry in orjson.loads(port["fixed_ips"])]
            if (not port_id or port["id"] == port_id) and (not subnet_id or subnet_id in on):
                _unused(db, router, on)
                store.delete(db, "ports", id=port["id"])
                return router, port
        raise Fault(
            404,
            f"Router {ident} has no interface on {subnet_id or port_id}.",
            "RouterInterfaceNotFoundForSubnet" if subnet_id else "RouterInterfaceNotFound",
        )

    return _interface(*write(work))


def _unused(db: sqlite3.Connection, router: store.Row, subnet_ids: list[str]) -> None:
    for floating in store.select(db, "floatingips", store.Where(router_id=router["id"])):
        for subnet_id in subnet_ids:
            text = floating["fixed_ip_address"]
            if store.find(db, "addresses", subnet_id=subnet_id, text=text, port_id=floating["port_id"]):
                raise conflict(
                    f"Router interface for subnet {subnet_id} on router {router['id']} cannot be deleted, "
                    f"as it is required by one or more floating IPs.",
                    "RouterInterfaceInUseByFloatingIP",
                )
