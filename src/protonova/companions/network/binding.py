"""How a port is bound to a host: what the host is told to plug, and the standby bindings of a live migration."""

import sqlite3
from typing import Any

import orjson
from flask import Response

from protonova.companions import store, web
from protonova.companions.caller import caller
from protonova.companions.cloud import cloud
from protonova.companions.fault import Fault, bad, conflict, forbidden
from protonova.companions.network import values
from protonova.companions.network.fault import invalid
from protonova.companions.network.resource import touched
from protonova.companions.network.routes import blueprint, read, write

VNIC_TYPES = (
    "normal", "direct", "macvtap", "baremetal", "direct-physical", "virtio-forwarder", "smart-nic",
    "accelerator-direct", "accelerator-direct-physical", "remote-managed", "vdpa",
)  # fmt: skip


def details(network_id: str) -> dict[str, Any]:
    settings = cloud().settings
    facts: dict[str, Any] = {"port_filter": False, "connectivity": "l2"}
    if settings.vif_type == "bridge":
        # The name of a Linux interface has 15 characters at most.
        facts["bridge_name"] = f"{settings.bridge_prefix}{network_id[:10]}"[:15]
    elif settings.vif_type == "ovs":
        facts["bridge_name"] = "br-int"
        facts["datapath_type"] = "system"
    return facts


def bound(network_id: str, host: str, vnic_type: str) -> tuple[str, dict[str, Any]]:
    """What a host is told. Only ordinary interfaces can be plugged on one machine."""
    if not host:
        return "unbound", {}
    if vnic_type != "normal":
        return "binding_failed", {}
    return cloud().settings.vif_type, details(network_id)


def settle(port: store.Row) -> None:
    """Bring type, details and status of a port (as values, not as columns) in line with its host."""
    vif_type, facts = bound(port["network_id"], port["binding:host_id"], port["binding:vnic_type"])
    port["binding:vif_type"], port["binding:vif_details"] = vif_type, facts
    up = port["admin_state_up"] and vif_type not in ("unbound", "binding_failed")
    if port["device_owner"].startswith("network:"):
        up = port["admin_state_up"] and bool(port["device_id"])
    port["status"] = "ACTIVE" if up else "DOWN"


def _shown(
    port: store.Row, host: str, vnic_type: str, profile: dict[str, Any], active: bool
) -> dict[str, Any]:
    vif_type, facts = bound(port["network_id"], host, vnic_type)
    return {
        "host": host,
        "vnic_type": vnic_type,
        "profile": profile,
        "vif_type": vif_type,
        "vif_details": facts,
        "status": "ACTIVE" if active else "INACTIVE",
        "project_id": port["project_id"],
    }


def _active(port: store.Row) -> dict[str, Any]:
    profile = orjson.loads(port["binding:profile"])
    return _shown(port, port["binding:host_id"], port["binding:vnic_type"], profile, True)


def _standby(port: store.Row, row: store.Row) -> dict[str, Any]:
    return _shown(port, row["host"], row["vnic_type"], orjson.loads(row["profile"]), False)


def _port(db: sqlite3.Connection, port_id: str) -> store.Row:
    port = store.find(db, "ports", id=port_id)
    if port is None:
        raise Fault(404, f"Port {port_id} could not be found.", "PortNotFound")
    return port


def _privileged() -> None:
    if not caller().is_privileged:
        raise forbidden("Bindings are a matter of administrators and services.")


def _missing(port_id: str, host: str) -> Fault:
    return Fault(
        404, f"Binding for port {port_id} for host {host} could not be found.", "PortBindingNotFound"
    )


_BINDING = values.fields(
    {
        "host": values.text(),
        "vnic_type": values.choice(*VNIC_TYPES),
        "profile": values.mapping,
        "project_id": values.text(),
        "tenant_id": values.text(),
    }
)


@blueprint.get("/v2.0/ports/<port_id>/bindings")
def list_bindings(port_id: str) -> Response:
    _privileged()

    def work(db: sqlite3.Connection) -> list[dict[str, Any]]:
        port = _port(db, port_id)
        shown = [_active(port)] if port["binding:host_id"] else []
        shown += [
            _standby(port, row) for row in store.select(db, "standby_bindings", store.Where(port_id=port_id))
        ]
        return shown

    return web.answer({"bindings": read(work)})


@blueprint.post("/v2.0/ports/<port_id>/bindings")
def create_binding(port_id: str) -> Response:
    _privileged()
    given = _BINDING("binding", web.document("binding"))
    host = given.get("host")
    if not host:
        raise invalid("a binding needs a host")

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        port = _port(db, port_id)
        row = {
            "port_id": port_id,
            "host": host,
            "vnic_type": given.get("vnic_type", port["binding:vnic_type"]),
            "profile": orjson.dumps(given.get("profile", {})).decode(),
        }
        if host == port["binding:host_id"] or not store.insert(db, "standby_bindings", row, ignore=True):
            raise conflict(
                f"Binding for port {port_id} on host {host} already exists.", "PortBindingAlreadyExists"
            )
        return _standby(port, row)

    return web.answer({"binding": write(work)}, 201)


@blueprint.get("/v2.0/ports/<port_id>/bindings/<host>")
def show_binding(port_id: str, host: str) -> Response:
    _privileged()

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        port = _port(db, port_id)
        if port["binding:host_id"] == host:
            return _active(port)
        row = store.find(db, "standby_bindings", port_id=port_id, host=host)
        if row is None:
            raise _missing(port_id, host)
        return _standby(port, row)

    return web.answer({"binding": read(work)})


@blueprint.put("/v2.0/ports/<port_id>/bindings/<host>")
def update_binding(port_id: str, host: str) -> Response:
    _privileged()
    given = _BINDING("binding", web.document("binding"))
    changes = {name: given[name] for name in ("vnic_type",) if name in given}
    if "profile" in given:
        changes["profile"] = orjson.dumps(given["profile"]).decode()
    if given.get("host", host) != host:
        raise bad("The host of a binding does not change.")

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        port = _port(db, port_id)
        if port["binding:host_id"] == host:
            port.update({f"binding:{name}": value for name, value in changes.items()})
            port.update(touched(port))
            store.update(db, "ports", port, id=port_id)
            return _active(port)
        store.update(db, "standby_bindings", changes, port_id=port_id, host=host)
        row = store.find(db, "standby_bindings", port_id=port_id, host=host)
        if row is None:
            raise _missing(port_id, host)
        return _standby(port, row)

    return web.answer({"binding": write(work)})


@blueprint.put("/v2.0/ports/<port_id>/bindings/<host>/activate")
def activate_binding(port_id: str, host: str) -> Response:
    """The standby binding comes into force; the one that was, stands by."""
    _privileged()

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        port = _port(db, port_id)
        if port["binding:host_id"] == host:
            raise conflict(
                f"Binding for port {port_id} on host {host} is already active.", "PortBindingAlreadyActive"
            )
        row = store.find(db, "standby_bindings", port_id=port_id, host=host)
        if row is None:
            raise _missing(port_id, host)
        store.delete(db, "standby_bindings", port_id=port_id, host=host)
        if port["binding:host_id"]:
            before = {
                "port_id": port_id,
                "host": port["binding:host_id"],
                "vnic_type": port["binding:vnic_type"],
                "profile": port["binding:profile"],
            }
            store.insert(db, "standby_bindings", before)
        port.update(
            {
                "binding:host_id": host,
                "binding:vnic_type": row["vnic_type"],
                "binding:profile": row["profile"],
            }
        )
        settle(port)
        port["binding:vif_details"] = orjson.dumps(port["binding:vif_details"]).decode()
        port.update(touched(port))
        store.update(db, "ports", port, id=port_id)
        return _active(port)

    return web.answer({"binding": write(work)})


@blueprint.delete("/v2.0/ports/<port_id>/bindings/<host>")
def delete_binding(port_id: str, host: str) -> Response:
    _privileged()

    def work(db: sqlite3.Connection) -> None:
        port = _port(db, port_id)
        if store.delete(db, "standby_bindings", port_id=port_id, host=host):
            return
        if not host or port["binding:host_id"] != host:
            raise _missing(port_id, host)
        port["binding:host_id"] = ""
        settle(port)
        port["binding:vif_details"] = "{}"
        port.update(touched(port))
        store.update(db, "ports", port, id=port_id)

    write(work)
    return web.empty()
