"""Ports: a MAC address and IP addresses on a network, for one device."""

import secrets
import sqlite3
from typing import Any

import orjson
from flask import Response

from protonova.companions import store, web
from protonova.companions.caller import Caller, caller
from protonova.companions.cloud import cloud
from protonova.companions.fault import Fault, bad, conflict, forbidden
from protonova.companions.network import addresses, binding, quotas, values
from protonova.companions.network.networks import visible
from protonova.companions.network.resource import REQUIRED, Attribute, Kind, born, touched
from protonova.companions.network.routes import blueprint, created, listed, one, read, write, writer
from protonova.companions.network.security_groups import default_of

UNSAID = object()  # an attribute that the request leaves to us
_FIXED_IP = values.fields({"subnet_id": values.uuid, "ip_address": values.ip})
_PAIR = values.fields({"ip_address": values.ip_or_cidr, "mac_address": values.mac}, required=("ip_address",))
_DHCP_OPTION = values.fields(
    {
        "opt_name": values.text(),
        "opt_value": values.null_or(values.text()),
        "ip_version": values.integer(4, 6),
    },
    required=("opt_name",),
)

PORT = Kind(
    "port",
    "ports",
    "Port",
    {
        "network_id": Attribute(values.uuid, REQUIRED, update=False),
        "mac_address": Attribute(values.null_or(values.mac), None),
        "admin_state_up": Attribute(values.flag, True),
        "device_id": Attribute(values.null_or(values.text()), ""),
        "device_owner": Attribute(values.null_or(values.text()), ""),
        "fixed_ips": Attribute(values.null_or(values.many(_FIXED_IP)), UNSAID),
        "security_groups": Attribute(values.null_or(values.unique(values.uuid)), UNSAID),
        "port_security_enabled": Attribute(values.flag, UNSAID),
        "allowed_address_pairs": Attribute(values.null_or(values.many(_PAIR)), []),
        "extra_dhcp_opts": Attribute(values.null_or(values.many(_DHCP_OPTION)), []),
        "binding:host_id": Attribute(values.null_or(values.text()), "", privileged=True, hidden=True),
        "binding:profile": Attribute(values.mapping, {}, privileged=True, hidden=True),
        "binding:vnic_type": Attribute(values.choice(*binding.VNIC_TYPES), "normal"),
        "binding:vif_type": Attribute(values.text(), "unbound", create=False, update=False, hidden=True),
        "binding:vif_details": Attribute(values.mapping, {}, create=False, update=False, hidden=True),
    },
    flags=frozenset(("admin_state_up", "port_security_enabled")),
    documents=frozenset(
        (
            "tags",
            "fixed_ips",
            "security_groups",
            "allowed_address_pairs",
            "extra_dhcp_opts",
            "binding:profile",
            "binding:vif_details",
        )
    ),
    has_status=True,
)


def view(_: sqlite3.Connection, row: store.Row) -> dict[str, Any]:
    return {**PORT.loaded(row), "resource_request": None, "propagate_uplink_status": True}


def _new_mac(db: sqlite3.Connection) -> str:
    """A MAC address that no port of any network has."""
    prefix = cloud().settings.mac_prefix
    missing = 6 - len(prefix.split(":"))
    for _ in range(64):
        mac = ":".join([prefix, *(f"{byte:02x}" for byte in secrets.token_bytes(missing))])
        if store.find(db, "ports", mac_address=mac) is None:
            return mac
    raise Fault(503, "No free MAC address was found.", "MacAddressGenerationFailure")


def make(db: sqlite3.Connection, network: store.Row, entry: dict[str, Any]) -> store.Row:
    """Write a new port, complete with addresses and groups. `entry` holds a value for every attribute."""
    port = {**born(), **entry}
    if port["mac_address"] is None:
        port["mac_address"] = _new_mac(db)
    elif store.find(db, "ports", network_id=network["id"], mac_address=port["mac_address"]):
        raise _mac_taken(port["mac_address"], network["id"])
    _normalise(port)
    if port["port_security_enabled"] is UNSAID:
        port["port_security_enabled"] = bool(network["port_security_enabled"])
    groups = _groups(db, port, entry["security_groups"])
    binding.settle(port)
    wanted = port.pop("fixed_ips")
    port["security_groups"] = groups
    row = PORT.stored({**port, "fixed_ips": []})
    store.insert(db, "ports", row)
    for group in groups:
        store.insert(db, "port_security_groups", {"port_id": port["id"], "security_group_id": group})
    if wanted is UNSAID or wanted is None:
        given = addresses.automatic(db, network["id"], port["id"], port["mac_address"])
    else:
        given = addresses.requested(db, network["id"], port["id"], port["mac_address"], wanted)
    if given:
        row["fixed_ips"] = PORT.stored({"fixed_ips": given})["fixed_ips"]
        store.update(db, "ports", {"fixed_ips": row["fixed_ips"]}, id=port["id"])
    return row


def _mac_taken(mac: str, network_id: str) -> Fault:
    message = f"Unable to complete operation for network {network_id}. The mac address {mac} is in use."
    return conflict(message, "MacAddressInUse")


def _normalise(port: dict[str, Any]) -> None:
    """Nothing and the empty value are the same for these."""
    for name in ("device_id", "device_owner", "binding:host_id"):
        port[name] = port[name] or ""
    for name in ("allowed_address_pairs", "extra_dhcp_opts"):
        port[name] = port[name] or []
    for pair in port["allowed_address_pairs"]:
        pair.setdefault("mac_address", port["mac_address"])


def _groups(db: sqlite3.Connection, port: dict[str, Any], wanted: Any) -> list[str]:
    if wanted is UNSAID or wanted is None:
        if port["device_owner"].startswith("network:") or not port["port_security_enabled"]:
            return []
        return [default_of(db, port["project_id"])]
    if wanted and not port["port_security_enabled"]:
        raise conflict(
            "Port Security must be enabled in order to have security groups.",
            "PortSecurityAndIPRequiredForSecurityGroups",
        )
    for ident in wanted:
        group = store.find(db, "security_groups", id=ident)
        if group is None or not (caller().is_privileged or group["project_id"] == port["project_id"]):
            raise Fault(404, f"Security group {ident} does not exist", "SecurityGroupNotFound")
    return list(wanted)


def fresh(project_id: str, **given: Any) -> dict[str, Any]:
    """The attributes of a port that the cloud makes for itself."""
    defaults = {name: attribute.fresh() for name, attribute in PORT.attributes.items()}
    return {**defaults, "project_id": project_id, **given}


def seen(db: sqlite3.Connection, who: Caller, ident: str) -> store.Row:
    row = store.find(db, "ports", id=ident)
    if row is None:
        raise PORT.missing(ident)
    if not who.is_privileged and row["project_id"] != who.project_id:
        network = store.find(db, "networks", id=row["network_id"])
        if not network or network["project_id"] != who.project_id:
            raise PORT.missing(ident)
    return row


def _by_fixed_ip(where: store.Where, texts: list[str]) -> None:
    for text in texts:
        key, _, value = text.partition("=")
        if key == "subnet_id":
            where.add("id IN (SELECT port_id FROM addresses WHERE subnet_id = ?)", value)
        elif key == "ip_address":
            where.add("id IN (SELECT port_id FROM addresses WHERE text = ?)", _canonical(value))
        elif key == "ip_address_substr":
            where.add("id IN (SELECT port_id FROM addresses WHERE instr(text, ?) > 0)", value)
        else:
            raise bad(f"'fixed_ips' cannot be filtered by '{key}'.")


def _canonical(text: str) -> str:
    try:
        return str(values.ip("ip_address", text))
    except Fault:
        return text


def _by_group(where: store.Where, texts: list[str]) -> None:
    members = (
        "SELECT port_id FROM port_security_groups WHERE security_group_id IN (SELECT value FROM json_each(?))"
    )
    where.add(f"id IN ({members})", orjson.dumps(texts).decode())


def _by_mac(where: store.Where, texts: list[str]) -> None:
    where.among("mac_address", [text.lower() for text in texts])


_SPECIAL = {
    "fixed_ips": _by_fixed_ip,
    "security_groups": _by_group,
    "security_groups_id": _by_group,
    "mac_address": _by_mac,
}


@blueprint.get("/v2.0/ports")
def list_ports() -> Response:
    who = caller()
    where = store.Where()
    if not who.is_privileged:
        where.add(
            "project_id = ? OR network_id IN (SELECT id FROM networks WHERE project_id = ?)",
            who.project_id,
            who.project_id,
        )
    return listed(PORT, who, where, view, _SPECIAL)


@blueprint.get("/v2.0/ports/<ident>")
def show_port(ident: str) -> Response:
    who = caller()
    return one(PORT, who, read(lambda db: view(db, seen(db, who, ident))))


def _may(who: Caller, network: store.Row, given: dict[str, Any]) -> None:
    """On a network that is only shared with the caller, exact addresses are the owner's to give."""
    if who.is_privileged or network["project_id"] == who.project_id:
        return
    entries = given.get("fixed_ips")
    exact = isinstance(entries, list) and any("ip_address" in entry for entry in entries)
    if given.get("mac_address") or exact or given.get("port_security_enabled", UNSAID) is not UNSAID:
        raise forbidden("Exact addresses on a shared network are given by its owner.")
    if (given.get("device_owner") or "").startswith("network:"):
        raise forbidden("Ports of the network itself are made by its owner.")


@blueprint.post("/v2.0/ports")
def create_port() -> Response:
    who = writer()
    wanted, bulk = PORT.requested(who)

    def work(db: sqlite3.Connection) -> list[dict[str, Any]]:
        bodies = []
        for entry in wanted:
            network = visible(db, who, entry["network_id"], external=False)
            _may(who, network, entry)
            quotas.charge(db, "port", entry["project_id"])
            bodies.append(view(db, make(db, network, entry)))
        return bodies

    return created(PORT, who, write(work), bulk)


@blueprint.put("/v2.0/ports/<ident>")
def update_port(ident: str) -> Response:
    who = writer()
    changes = PORT.changes(who)

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        row = seen(db, who, ident)
        network = store.find(db, "networks", id=row["network_id"]) or {}
        _may(who, network, changes)
        port = {**PORT.loaded(row), **changes}
        _normalise(port)
        if port["mac_address"] != row["mac_address"]:
            _change_mac(db, row, port)
        if changes.get("fixed_ips") is not None:
            port["fixed_ips"] = _change_addresses(db, row, port)
        if "security_groups" in changes:
            port["security_groups"] = _groups(db, port, changes["security_groups"] or [])
            store.delete(db, "port_security_groups", port_id=ident)
            for group in port["security_groups"]:
                store.insert(db, "port_security_groups", {"port_id": ident, "security_group_id": group})
        elif port["security_groups"] and not port["port_security_enabled"]:
            raise conflict("Port has security groups.", "PortSecurityPortHasSecurityGroup")
        binding.settle(port)
        kept = {
            name: port[name] for name in row if name not in ("created_at", "updated_at", "revision_number")
        }
        row.update(PORT.stored({**kept, **touched(row)}))
        store.update(db, "ports", row, id=ident)
        return view(db, row)

    return one(PORT, who, write(work))


def _change_mac(db: sqlite3.Connection, row: store.Row, port: dict[str, Any]) -> None:
    if row["binding:host_id"] and port["binding:host_id"]:
        raise conflict(
            f"Unable to complete operation on port {row['id']}, port is already bound, "
            f"port type: {row['binding:vif_type']}.",
            "PortBound",
        )
    if port["mac_address"] is None:
        port["mac_address"] = _new_mac(db)
    elif store.find(db, "ports", network_id=row["network_id"], mac_address=port["mac_address"]):
        raise _mac_taken(port["mac_address"], row["network_id"])


def _change_addresses(
    db: sqlite3.Connection, row: store.Row, port: dict[str, Any]
) -> list[addresses.FixedIp]:
    """Addresses named again stay; the others are given back and new ones taken."""
    held = PORT.loaded(row)["fixed_ips"]
    kept: list[addresses.FixedIp] = []
    new: list[dict[str, Any]] = []
    for entry in port["fixed_ips"]:
        matching = [one_ for one_ in held if one_ not in kept and entry.items() <= one_.items()]
        if entry and matching:
            kept.append(matching[0])
        else:
            new.append(entry)
    addresses.release(db, row["id"], kept)
    return kept + addresses.requested(db, row["network_id"], row["id"], port["mac_address"], new)


@blueprint.delete("/v2.0/ports/<ident>")
def delete_port(ident: str) -> Response:
    who = writer()

    def work(db: sqlite3.Connection) -> None:
        row = seen(db, who, ident)
        if row["device_owner"] in (
            "network:router_interface",
            "network:router_gateway",
            "network:floatingip",
        ):
            raise conflict(
                f"Port {ident} cannot be deleted directly via the port API: "
                f"has device owner {row['device_owner']}.",
                "ServicePortInUse",
            )
        remove(db, ident)

    write(work)
    return web.empty()


def remove(db: sqlite3.Connection, ident: str) -> None:
    """Delete a port; a floating IP that led to it leads nowhere then."""
    loose = {"port_id": None, "fixed_ip_address": None, "router_id": None, "status": "DOWN"}
    store.update(db, "floatingips", loose, port_id=ident)
    store.delete(db, "ports", id=ident)
