"""Subnets: ranges of addresses on a network, and the pools of them that are given out."""

import ipaddress
import sqlite3
from typing import Any

from flask import Response

from protonova.companions import store, web
from protonova.companions.caller import Caller, caller
from protonova.companions.fault import bad, conflict, forbidden
from protonova.companions.network import quotas, values
from protonova.companions.network.fault import invalid
from protonova.companions.network.networks import FLEETING, visible
from protonova.companions.network.resource import REQUIRED, Attribute, Kind, born, touched
from protonova.companions.network.routes import blueprint, created, listed, one, read, write, writer

_MODES = values.null_or(values.choice("slaac", "dhcpv6-stateful", "dhcpv6-stateless"))
_POOL = values.fields({"start": values.ip, "end": values.ip}, required=("start", "end"))
_ROUTE = values.fields(
    {"destination": values.cidr, "nexthop": values.ip}, required=("destination", "nexthop")
)
AUTOMATIC = object()  # a gateway or pools that the request leaves to us

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SUBNET = Kind(
    "subnet",
    "subnets",
    "Subnet",
    {
        "network_id": Attribute(values.uuid, REQUIRED, update=False),
        "ip_version": Attribute(values.integer(4, 6), None, update=False),
        "cidr": Attribute(values.null_or(values.cidr), None, update=False),
        "gateway_ip": Attribute(values.null_or(values.ip), AUTOMATIC),
        "allocation_pools": Attribute(values.null_or(values.many(_POOL)), None),
        "dns_nameservers": Attribute(values.null_or(values.unique(values.ip, 16)), []),
        "host_routes": Attribute(values.null_or(values.many(_ROUTE)), []),
        "enable_dhcp": Attribute(values.flag, True),
        "ipv6_ra_mode": Attribute(_MODES, None, update=False),
        "ipv6_address_mode": Attribute(_MODES, None, update=False),
        "subnetpool_id": Attribute(values.null_or(values.text()), None, update=False),
        "prefixlen": Attribute(values.null_or(values.integer(0, 128)), None, update=False, kept=False),
        "use_default_subnetpool": Attribute(values.flag, False, update=False, kept=False),
        "segment_id": Attribute(values.null_or(values.text()), None, update=False, kept=False),
        "service_types": Attribute(values.many(values.text()), [], kept=False),
    },
    flags=frozenset(("enable_dhcp",)),
    documents=frozenset(("tags", "allocation_pools", "dns_nameservers", "host_routes")),
)
_NOT_KEPT = ("prefixlen", "use_default_subnetpool", "segment_id", "service_types")


def view(_: sqlite3.Connection, row: store.Row) -> dict[str, Any]:
    return {**SUBNET.loaded(row), "service_types": []}


def _seen(db: sqlite3.Connection, who: Caller, ident: str) -> store.Row:
    row = store.find(db, "subnets", id=ident)
    if row is None:
        raise SUBNET.missing(ident)
    if not who.is_privileged and row["project_id"] != who.project_id:
        network = store.find(db, "networks", id=row["network_id"])
        if not network or not (network["shared"] or network["project_id"] == who.project_id):
            raise SUBNET.missing(ident)
    return row


def _changeable(db: sqlite3.Connection, who: Caller, ident: str) -> store.Row:
    row = _seen(db, who, ident)
    if not who.is_privileged and row["project_id"] != who.project_id:
        raise forbidden(f"Subnet {ident} belongs to another project.")
    return row


@blueprint.get("/v2.0/subnets")
def list_subnets() -> Response:
    who = caller()
    where = store.Where()
    if not who.is_privileged:
        where.add(
            "project_id = ? OR network_id IN (SELECT id FROM networks WHERE shared OR project_id = ?)",
            who.project_id,
            who.project_id,
        )
    return listed(SUBNET, who, where, view)


@blueprint.get("/v2.0/subnets/<ident>")
def show_subnet(ident: str) -> Response:
    who = caller()
    return one(SUBNET, who, read(lambda db: view(db, _seen(db, who, ident))))


@blueprint.post("/v2.0/subnets")
def create_subnet() -> Response:
    who = writer()
    wanted, bulk = SUBNET.requested(who)
    for entry in wanted:
        settle(entry)

    def work(db: sqlite3.Connection) -> list[dict[str, Any]]:
        bodies = []
        for entry in wanted:
            network = visible(db, who, entry["network_id"])
            if not who.is_privileged and network["project_id"] != who.project_id:
                raise forbidden("Only the owner of a network adds subnets to it.")
            quotas.charge(db, "subnet", entry["project_id"])
            _apart(db, entry)
            row = SUBNET.stored({**born(), **entry})
            store.insert(db, "subnets", row)
            write_pools(db, row["id"], entry["allocation_pools"])
            bodies.append(view(db, row))
        return bodies

    return created(SUBNET, who, write(work), bulk)


def settle(entry: dict[str, Any]) -> None:
    """Fill in and check what depends on the range of addresses."""
    if entry["subnetpool_id"] or entry["use_default_subnetpool"] or not entry["cidr"]:
        raise bad("A subnet is created with its cidr here; there are no subnet pools.")
    for name in _NOT_KEPT:
        if name != "prefixlen" and entry[name]:
            raise bad(f"'{name}' is not supported here.")
        del entry[name]
    network = ipaddress.ip_network(entry["cidr"])
    entry["ip_version"] = entry["ip_version"] or network.version
    if entry["ip_version"] != network.version:
        raise invalid(f"cidr {network} is not of IP version {entry['ip_version']}")
    if network.is_multicast or network.prefixlen == 0:
        raise invalid(f"{network} is not a range for hosts")
    if network.version == 4 and (entry["ipv6_ra_mode"] or entry["ipv6_address_mode"]):
        raise invalid("the modes of IPv6 have no meaning for IPv4")
    modes = {entry["ipv6_ra_mode"], entry["ipv6_address_mode"]} - {None}
    if len(modes) > 1:
        raise invalid("ipv6_ra_mode and ipv6_address_mode must agree")
    if modes & {"slaac", "dhcpv6-stateless"} and network.prefixlen != 64:
        raise invalid("hosts can form their addresses in a prefix of 64 bits only")
    for name in ("dns_nameservers", "host_routes"):
        entry[name] = entry[name] or []
    if entry["gateway_ip"] is AUTOMATIC:
        entry["gateway_ip"] = str(_usable(network)[0]) if network.num_addresses > 1 else None
    _check_gateway(entry["gateway_ip"], network)
    if entry["allocation_pools"] is None:
        entry["allocation_pools"] = _default_pools(network, entry["gateway_ip"])
    _check_pools(entry["allocation_pools"], network, entry["gateway_ip"])


def _usable(network: Network) -> tuple[Any, Any]:
    """The first and the last address that a host may have."""
    first, last = network.network_address, network.broadcast_address
    if network.version == 4 and network.prefixlen < 31:
        return first + 1, last - 1
    if network.version == 6 and network.prefixlen < 127:
        return first + 1, last
    return first, last


def _check_gateway(gateway: str | None, network: Network) -> None:
    if gateway is None:
        return
    address = ipaddress.ip_address(gateway)
    if address.version != network.version:
        raise invalid(f"gateway {gateway} is not of IP version {network.version}")
    edges = (network.network_address, network.broadcast_address)
    if network.version == 4 and network.prefixlen < 31 and address in edges:
        raise invalid(f"gateway {gateway} is not an address for a host of {network}")


def _default_pools(network: Network, gateway: str | None) -> list[dict[str, str]]:
    """Every usable address but the gateway's."""
    first, last = _usable(network)
    hole = ipaddress.ip_address(gateway) if gateway else None
    if hole is None or not first <= hole <= last:
        return [{"start": str(first), "end": str(last)}]
    pools = []
    if hole > first:
        pools.append({"start": str(first), "end": str(hole - 1)})
    if hole < last:
        pools.append({"start": str(hole + 1), "end": str(last)})
    return pools


def _check_pools(pools: list[dict[str, str]], network: Network, gateway: str | None) -> None:
    low, high = _usable(network)
    before: tuple[Any, Any] | None = None
    bounds: list[tuple[Any, Any]] = [
        (ipaddress.ip_address(pool["start"]), ipaddress.ip_address(pool["end"])) for pool in pools
    ]
    for start, end in bounds:
        if start.version != network.version or end.version != network.version or start > end:
            raise bad(
                f"The pool from {start} to {end} is no range of IPv{network.version}.",
                "InvalidAllocationPool",
            )
        if start < low or end > high:
            raise bad(f"The pool from {start} to {end} is not within {network}.", "OutOfBoundsAllocationPool")
        hole: Any = ipaddress.ip_address(gateway) if gateway else None
        if hole and start <= hole <= end:
            raise conflict(
                f"The gateway {gateway} lies in the pool from {start} to {end}.",
                "GatewayConflictWithAllocationPools",
            )
    for start, end in sorted(bounds):
        if before and start <= before[1]:
            raise conflict(f"The pools of {network} overlap at {start}.", "OverlappingAllocationPools")
        before = start, end


def _apart(db: sqlite3.Connection, entry: dict[str, Any]) -> None:
    """Subnets of one network do not overlap."""
    network = ipaddress.ip_network(entry["cidr"])
    for other in store.select(db, "subnets", store.Where(network_id=entry["network_id"])):
        if ipaddress.ip_network(other["cidr"]).overlaps(network):
            raise invalid(f"cidr {network} overlaps with another subnet: {other['id']} with {other['cidr']}")


def write_pools(db: sqlite3.Connection, subnet_id: str, pools: list[dict[str, str]]) -> None:
    store.delete(db, "pools", subnet_id=subnet_id)
    for pool in pools:
        start, end = (ipaddress.ip_address(pool[edge]).packed for edge in ("start", "end"))
        store.insert(db, "pools", {"subnet_id": subnet_id, "first": start, "last": end, "cursor": None})


@blueprint.put("/v2.0/subnets/<ident>")
def update_subnet(ident: str) -> Response:
    who = writer()
    changes = SUBNET.changes(who)
    for name in ("dns_nameservers", "host_routes", "allocation_pools"):
        if name in changes:
            changes[name] = changes[name] or []
    if changes.pop("service_types", None):
        raise bad("'service_types' is not supported here.")

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        row = _changeable(db, who, ident)
        network = ipaddress.ip_network(row["cidr"])
        after = {**SUBNET.loaded(row), **changes}
        if after["gateway_ip"] != row["gateway_ip"] and _taken(db, ident, row["gateway_ip"]):
            raise conflict(f"The gateway {row['gateway_ip']} is in use by a port.", "GatewayIpInUse")
        _check_gateway(after["gateway_ip"], network)
        _check_pools(after["allocation_pools"], network, after["gateway_ip"])
        row.update(SUBNET.stored({**changes, **touched(row)}))
        store.update(db, "subnets", row, id=ident)
        if "allocation_pools" in changes:
            write_pools(db, ident, changes["allocation_pools"])
        return view(db, row)

    return one(SUBNET, who, write(work))


def _taken(db: sqlite3.Connection, subnet_id: str, text: str | None) -> bool:
    return text is not None and store.find(db, "addresses", subnet_id=subnet_id, text=text) is not None


@blueprint.delete("/v2.0/subnets/<ident>")
def delete_subnet(ident: str) -> Response:
    who = writer()

    def work(db: sqlite3.Connection) -> None:
        _changeable(db, who, ident)
        where = store.Where().add("id IN (SELECT port_id FROM addresses WHERE subnet_id = ?)", ident)
        holders = store.select(db, "ports", where)
        in_use = [port["id"] for port in holders if port["device_owner"] not in FLEETING]
        if in_use:
            raise conflict(
                f"Subnet {ident} has {len(in_use)} ports with an address of it, among them {in_use[0]}.",
                "SubnetInUse",
            )
        for port in holders:
            store.delete(db, "ports", id=port["id"])
        store.delete(db, "subnets", id=ident)

    write(work)
    return web.empty()
