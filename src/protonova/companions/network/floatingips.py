"""Floating IPs, as records: the address is taken for real and leads to a port, but nothing is translated."""

import sqlite3
from typing import Any

import orjson
from flask import Response

from protonova.companions import store, web
from protonova.companions.caller import Caller, caller
from protonova.companions.fault import Fault, bad, conflict
from protonova.companions.network import ports, quotas, values
from protonova.companions.network.networks import visible
from protonova.companions.network.resource import REQUIRED, Attribute, Kind, born, touched
from protonova.companions.network.routers import interfaces
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

FLOATING_IP = Kind(
    "floatingip",
    "floatingips",
    "FloatingIP",
    {
        "floating_network_id": Attribute(values.uuid, REQUIRED, update=False),
        "floating_ip_address": Attribute(values.null_or(values.ip), None, update=False),
        "subnet_id": Attribute(values.null_or(values.uuid), None, update=False, kept=False),
        "port_id": Attribute(values.null_or(values.uuid), None),
        "fixed_ip_address": Attribute(values.null_or(values.ip), None),
        "router_id": Attribute(values.null_or(values.uuid), None, create=False, update=False),
    },
    documents=frozenset(("tags",)),
    has_status=True,
)


def view(db: sqlite3.Connection, row: store.Row) -> dict[str, Any]:
    body = FLOATING_IP.loaded(row)
    del body["name"], body["floating_port_id"]
    port = store.find(db, "ports", id=row["port_id"]) if row["port_id"] else None
    body["port_details"] = port and {
        "name": port["name"],
        "network_id": port["network_id"],
        "mac_address": port["mac_address"],
        "admin_state_up": bool(port["admin_state_up"]),
        "status": port["status"],
        "device_id": port["device_id"],
        "device_owner": port["device_owner"],
    }
    return body


@blueprint.get("/v2.0/floatingips")
def list_floating_ips() -> Response:
    who = caller()
    return listed(FLOATING_IP, who, owned(who), view)


@blueprint.get("/v2.0/floatingips/<ident>")
def show_floating_ip(ident: str) -> Response:
    who = caller()
    return one(FLOATING_IP, who, read(lambda db: view(db, mine(db, FLOATING_IP, who, ident))))


@blueprint.post("/v2.0/floatingips")
def create_floating_ip() -> Response:
    who = writer()
    wanted, bulk = FLOATING_IP.requested(who)

    def work(db: sqlite3.Connection) -> list[dict[str, Any]]:
        return [view(db, _make(db, who, entry)) for entry in wanted]

    return created(FLOATING_IP, who, write(work), bulk)


def _make(db: sqlite3.Connection, who: Caller, entry: dict[str, Any]) -> store.Row:
    quotas.charge(db, "floatingip", entry["project_id"])
    network = visible(db, who, entry["floating_network_id"])
    if not network["router:external"]:
        raise bad(f"Network {network['id']} is not a valid external network", "BadRequest")
    named = {"subnet_id": entry.pop("subnet_id"), "ip_address": entry["floating_ip_address"]}
    exact = {name: value for name, value in named.items() if value}
    born_ = born()
    port = ports.make(
        db,
        network,
        ports.fresh(
            "",
            network_id=network["id"],
            device_id=born_["id"],
            device_owner="network:floatingip",
            fixed_ips=[exact] if exact else ports.UNSAID,
        ),
    )
    addresses = [
        given["ip_address"] for given in orjson.loads(port["fixed_ips"]) if ":" not in given["ip_address"]
    ]
    if not addresses:
        raise bad(f"Network {network['id']} has no IPv4 subnet.", "ExternalIpAddressExhausted")
    row = FLOATING_IP.stored(
        {
            **born_,
            **entry,
            "floating_ip_address": addresses[0],
            "floating_port_id": port["id"],
            "status": "DOWN",
        }
    )
    wanted = {name: row[name] for name in ("port_id", "fixed_ip_address")}
    row.update(port_id=None, fixed_ip_address=None, router_id=None)
    store.insert(db, "floatingips", row)
    if wanted["port_id"]:
        _lead(db, who, row, wanted)
    return row


def _lead(db: sqlite3.Connection, who: Caller, row: store.Row, wanted: dict[str, Any]) -> None:
    """Make the floating IP lead to an address of a port that a router joins to its network."""
    port = ports.seen(db, who, wanted["port_id"])
    entries = [given for given in orjson.loads(port["fixed_ips"]) if ":" not in given["ip_address"]]
    if wanted.get("fixed_ip_address"):
        entries = [given for given in entries if given["ip_address"] == wanted["fixed_ip_address"]]
    if not entries:
        raise bad(f"Port {port['id']} has no such IPv4 address.", "BadRequest")
    router_id = next(filter(None, (_router(db, row, given) for given in entries)), None)
    if router_id is None:
        raise Fault(
            404,
            f"External network {row['floating_network_id']} is not reachable from subnet "
            f"{entries[0]['subnet_id']}. Therefore, cannot associate Port {port['id']} with a Floating IP.",
            "ExternalGatewayForFloatingIPNotFound",
        )
    chosen = next(given for given in entries if _router(db, row, given) == router_id)
    for other in store.select(db, "floatingips", store.Where(port_id=port["id"])):
        if other["fixed_ip_address"] == chosen["ip_address"] and other["id"] != row["id"]:
            raise conflict(
                f"Fixed IP {chosen['ip_address']} of port {port['id']} has floating IP {other['id']} already.",
                "FloatingIPPortAlreadyAssociated",
            )
    row.update(
        port_id=port["id"], fixed_ip_address=chosen["ip_address"], router_id=router_id, status="ACTIVE"
    )
    store.update(db, "floatingips", row, id=row["id"])


def _router(db: sqlite3.Connection, row: store.Row, entry: dict[str, str]) -> str | None:
    """The router between the subnet of an address and the external network."""
    holders = db.execute(
        "SELECT ports.device_id FROM ports JOIN addresses ON addresses.port_id = ports.id"
        " WHERE addresses.subnet_id = ? AND ports.device_owner = 'network:router_interface'",
        (entry["subnet_id"],),
    ).fetchall()
    for holder in holders:
        router = store.find(db, "routers", id=holder["device_id"])
        info = orjson.loads(router["external_gateway_info"]) if router else None
        if info and info["network_id"] == row["floating_network_id"] and interfaces(db, holder["device_id"]):
            return str(holder["device_id"])
    return None


@blueprint.put("/v2.0/floatingips/<ident>")
def update_floating_ip(ident: str) -> Response:
    who = writer()
    changes = FLOATING_IP.changes(who)

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        row = mine(db, FLOATING_IP, who, ident)
        plain: dict[str, Any] = {name: changes[name] for name in ("name", "description") if name in changes}
        row.update({**plain, **touched(row)})
        if "port_id" in changes and not changes["port_id"]:
            row.update(port_id=None, fixed_ip_address=None, router_id=None, status="DOWN")
        elif "port_id" in changes or ("fixed_ip_address" in changes and row["port_id"]):
            _lead(db, who, row, {"port_id": row["port_id"], **changes})
        elif changes.get("fixed_ip_address"):
            raise bad("A fixed_ip_address is given together with a port_id.", "BadRequest")
        store.update(db, "floatingips", row, id=ident)
        return view(db, row)

    return one(FLOATING_IP, who, write(work))


@blueprint.delete("/v2.0/floatingips/<ident>")
def delete_floating_ip(ident: str) -> Response:
    who = writer()

    def work(db: sqlite3.Connection) -> None:
        row = mine(db, FLOATING_IP, who, ident)
        store.delete(db, "floatingips", id=ident)
        store.delete(db, "ports", id=row["floating_port_id"])

    write(work)
    return web.empty()
