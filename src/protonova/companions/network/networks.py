"""Networks. A network goes with its subnets once no port is left on it."""

import sqlite3
from typing import Any

from flask import Response

from protonova.companions import store, web
from protonova.companions.caller import Caller, caller
from protonova.companions.fault import conflict, forbidden
from protonova.companions.network import quotas, values
from protonova.companions.network.resource import Attribute, Kind, born, touched
from protonova.companions.network.routes import blueprint, created, listed, mine, one, read, write, writer

NETWORK = Kind(
    "network",
    "networks",
    "Network",
    {
        "admin_state_up": Attribute(values.flag, True),
        "shared": Attribute(values.flag, False, privileged=True),
        "router:external": Attribute(values.flag, False, privileged=True),
        "is_default": Attribute(values.flag, False, privileged=True),
        "port_security_enabled": Attribute(values.flag, True),
        "mtu": Attribute(values.integer(68, 65535), 1500),
        "provider:network_type": Attribute(
            values.choice("local", "flat", "vlan", "vxlan", "gre", "geneve"),
            "local",
            privileged=True,
            hidden=True,
        ),
        "provider:physical_network": Attribute(values.null_or(values.text(64)), privileged=True, hidden=True),
        "provider:segmentation_id": Attribute(
            values.null_or(values.integer(1, 2**24)), privileged=True, hidden=True
        ),
        "availability_zone_hints": Attribute(values.many(values.text()), [], update=False),
    },
    flags=frozenset(("admin_state_up", "shared", "router:external", "is_default", "port_security_enabled")),
    documents=frozenset(("tags", "availability_zone_hints")),
    has_status=True,
)
# Ports of the cloud's own that do not keep a network or a subnet in use.
FLEETING = ("network:dhcp", "network:distributed")


def view(db: sqlite3.Connection, row: store.Row) -> dict[str, Any]:
    body = NETWORK.loaded(row)
    subnets = db.execute("SELECT id FROM subnets WHERE network_id = ? ORDER BY created_at, id", (row["id"],))
    body["subnets"] = [subnet["id"] for subnet in subnets]
    body["availability_zones"] = ["nova"]
    return body


def visible(db: sqlite3.Connection, who: Caller, ident: str, *, external: bool = True) -> store.Row:
    """Own networks and shared ones; external ones may be looked at by everybody."""
    row = store.find(db, "networks", id=ident)
    if row and (
        who.is_privileged
        or row["project_id"] == who.project_id
        or row["shared"]
        or (external and row["router:external"])
    ):
        return row
    raise NETWORK.missing(ident)


@blueprint.get("/v2.0/networks")
def list_networks() -> Response:
    who = caller()
    where = store.Where()
    if not who.is_privileged:
        where.add('project_id = ? OR shared OR "router:external"', who.project_id)
    return listed(NETWORK, who, where, view)


@blueprint.get("/v2.0/networks/<ident>")
def show_network(ident: str) -> Response:
    who = caller()
    return one(NETWORK, who, read(lambda db: view(db, visible(db, who, ident))))


@blueprint.post("/v2.0/networks")
def create_network() -> Response:
    who = writer()
    wanted, bulk = NETWORK.requested(who)

    def work(db: sqlite3.Connection) -> list[dict[str, Any]]:
        bodies = []
        for entry in wanted:
            quotas.charge(db, "network", entry["project_id"])
            row = NETWORK.stored({**born(), **entry, "status": "ACTIVE"})
            store.insert(db, "networks", row)
            bodies.append(view(db, row))
        return bodies

    return created(NETWORK, who, write(work), bulk)


@blueprint.put("/v2.0/networks/<ident>")
def update_network(ident: str) -> Response:
    who = writer()
    changes = NETWORK.changes(who)

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        row = mine_or_forbidden(db, who, ident)
        row.update(NETWORK.stored({**changes, **touched(row)}))
        store.update(db, "networks", row, id=ident)
        return view(db, row)

    return one(NETWORK, who, write(work))


def mine_or_forbidden(db: sqlite3.Connection, who: Caller, ident: str) -> store.Row:
    """What others share can be seen, so it is refused rather than denied."""
    row = visible(db, who, ident)
    if not who.is_privileged and row["project_id"] != who.project_id:
        raise forbidden(f"Network {ident} belongs to another project.")
    return mine(db, NETWORK, who, ident)


@blueprint.delete("/v2.0/networks/<ident>")
def delete_network(ident: str) -> Response:
    who = writer()

    def work(db: sqlite3.Connection) -> None:
        mine_or_forbidden(db, who, ident)
        for floating in store.select(db, "floatingips", store.Where(floating_network_id=ident, port_id=None)):
            # Leading nowhere, it goes with its network.
            store.delete(db, "floatingips", id=floating["id"])
            store.delete(db, "ports", id=floating["floating_port_id"])
        in_use = [
            port["id"]
            for port in store.select(db, "ports", store.Where(network_id=ident))
            if port["device_owner"] not in FLEETING
        ]
        if in_use:
            raise conflict(
                f"Network {ident} has {len(in_use)} ports still in use, among them {in_use[0]}.",
                "NetworkInUse",
            )
        store.delete(db, "ports", network_id=ident)
        store.delete(db, "subnets", network_id=ident)
        store.delete(db, "networks", id=ident)

    write(work)
    return web.empty()
