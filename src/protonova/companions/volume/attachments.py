"""Attachments: a server's claim on a volume, from reserved over attaching to attached.

The status of the volume follows from its attachments. A volume that is not for several servers may still have
several attachments of the same server: one for each host while the server moves.
"""

import sqlite3
from typing import Any

import orjson
from flask import Response, request

from protonova.companions import check, clock, store, web
from protonova.companions.caller import caller
from protonova.companions.fault import Fault, bad
from protonova.companions.project_routes import writer
from protonova.companions.volume import connection, microversion
from protonova.companions.volume.routes import action, found, now, page, read, route, within, write

_MODES = ("rw", "ro", "null")
_SORTABLE = {"id", "created_at", "status", "volume_id"}


def _shown(db: sqlite3.Connection, row: store.Row) -> dict[str, Any]:
    volume = store.find(db, "volumes", id=row["volume_id"]) or {}
    return {
        "id": row["id"],
        "status": row["status"],
        "instance": row["instance_uuid"],
        "volume_id": row["volume_id"],
        "attached_at": clock.naive(row["attached_at"]) or "",
        "detached_at": "",
        "attach_mode": row["mode"],
        "connection_info": connection.flat(volume, row) if row["connector"] and volume else {},
    }


def _brief(_: sqlite3.Connection, row: store.Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "status": row["status"],
        "instance": row["instance_uuid"],
        "volume_id": row["volume_id"],
    }


def _attachment(db: sqlite3.Connection, ident: str) -> tuple[store.Row, store.Row]:
    """The attachment and its volume, whose project decides about it."""
    microversion.require(27)
    row = store.find(db, "attachments", id=ident)
    volume = store.find(db, "volumes", id=row["volume_id"]) if row else None
    if (
        row is None
        or volume is None
        or not (caller().is_privileged or volume["project_id"] == caller().project_id)
    ):
        raise Fault(404, f"Volume attachment could not be found with filter: attachment_id = {ident}.")
    return row, volume


def settle(db: sqlite3.Connection, volume_id: str) -> None:
    """The volume is as far as the furthest of its attachments."""
    statuses = {row["status"] for row in store.select(db, "attachments", store.Where(volume_id=volume_id))}
    status = "available"
    for mine, its in (("attached", "in-use"), ("attaching", "attaching"), ("reserved", "reserved")):
        if mine in statuses:
            status = its
            break
    store.update(db, "volumes", {"status": status, **now()}, id=volume_id)


def reserve(db: sqlite3.Connection, volume: store.Row, server_id: str | None, mode: str) -> store.Row:
    held = store.select(db, "attachments", store.Where(volume_id=volume["id"]))
    same = bool(held) and server_id is not None and all(row["instance_uuid"] == server_id for row in held)
    shared = bool(volume["multiattach"]) and volume["status"] in (
        "in-use",
        "attaching",
        "reserved",
        "available",
    )
    moving = same and volume["status"] in ("in-use", "attaching", "reserved", "detaching")
    if volume["status"] != "available" and not shared and not moving:
        raise bad(
            f"Invalid volume: Volume {volume['id']} status must be available or downloading to reserve, but the "
            f"current status is {volume['status']}."
        )
    row = {
        "id": web.new_id(),
        "volume_id": volume["id"],
        "instance_uuid": server_id,
        "status": "reserved",
        "mode": mode,
        "mountpoint": None,
        "host": None,
        "connector": None,
        "attached_at": None,
        "created_at": clock.now(),
    }
    store.insert(db, "attachments", row)
    return row


def _connect(db: sqlite3.Connection, row: store.Row, connector: dict[str, Any], mode: str | None) -> None:
    for name in ("host", "mountpoint"):
        if connector.get(name) is not None and not isinstance(connector[name], str):
            raise bad(f"'connector.{name}' must be a string.")
    changes = {
        "connector": orjson.dumps(connector).decode(),
        "host": connector.get("host"),
        "mountpoint": connector.get("mountpoint") or row["mountpoint"],
        "mode": mode or connector.get("mode") or row["mode"],
        "status": "attached" if row["status"] == "attached" else "attaching",
    }
    row.update(changes)
    store.update(db, "attachments", changes, id=row["id"])


def complete(db: sqlite3.Connection, row: store.Row) -> None:
    row.update(status="attached", attached_at=clock.now())
    store.update(db, "attachments", {"status": "attached", "attached_at": row["attached_at"]}, id=row["id"])
    settle(db, row["volume_id"])


def _connector(given: dict[str, Any]) -> dict[str, Any] | None:
    connector = given.get("connector")
    if connector is not None and not isinstance(connector, dict):
        raise bad("'connector' must be an object.")
    return connector or None


def _mode(given: dict[str, Any]) -> str | None:
    return check.choice(given, "mode", _MODES) if given.get("mode") and microversion.at_least(54) else None


@route("/attachments", "POST")
def create_attachment() -> Response:
    writer()
    microversion.require(27)
    given = web.document("attachment")
    volume_id = check.text(given, "volume_uuid", least=1)
    server_id = check.text(given, "instance_uuid", None, null=True)
    connector, mode = _connector(given), _mode(given)

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        volume = found(db, "volumes", volume_id)
        row = reserve(db, volume, server_id, mode or "rw")
        if connector:
            _connect(db, row, connector, mode)
        settle(db, volume_id)
        return _shown(db, row)

    return web.answer({"attachment": write(work)})


@route("/attachments/<ident>")
def show_attachment(ident: str) -> Response:
    caller()
    return web.answer({"attachment": read(lambda db: _shown(db, _attachment(db, ident)[0]))})


@route("/attachments/<ident>", "PUT")
def update_attachment(ident: str) -> Response:
    writer()
    given = web.document("attachment")
    connector, mode = _connector(given), _mode(given)
    if connector is None:
        raise bad("'connector' must be an object that says where the volume goes.")

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        row, volume = _attachment(db, ident)
        _connect(db, row, connector, mode)
        settle(db, volume["id"])
        return _shown(db, row)

    return web.answer({"attachment": write(work)})


@route("/attachments/<ident>/action", "POST")
def act_on_attachment(ident: str) -> Response:
    writer()
    microversion.require(44)
    action(("os-complete",))

    def work(db: sqlite3.Connection) -> None:
        row, _ = _attachment(db, ident)
        # A server that is on no host yet has its volumes in use, connected to nothing.
        if row["status"] != "attached":
            complete(db, row)

    write(work)
    return web.empty(204)


@route("/attachments/<ident>", "DELETE")
def delete_attachment(ident: str) -> Response:
    writer()

    def work(db: sqlite3.Connection) -> list[dict[str, Any]]:
        row, volume = _attachment(db, ident)
        store.delete(db, "attachments", id=row["id"])
        settle(db, volume["id"])
        rest = store.select(db, "attachments", store.Where(volume_id=volume["id"]))
        return [_brief(db, entry) for entry in rest]

    return web.answer({"attachments": write(work)})


def _filtered() -> store.Where:
    microversion.require(27)
    project = within()
    where = store.Where()
    if project.values:
        where.add("volume_id IN (SELECT id FROM volumes WHERE project_id = ?)", *project.values)
    for name, column in (
        ("volume_id", "volume_id"),
        ("status", "status"),
        ("instance_id", "instance_uuid"),
        ("instance_uuid", "instance_uuid"),
        ("attachment_id", "id"),
    ):
        if name in request.args:
            where.equals(column, request.args[name])
    return where


@route("/attachments")
def list_attachments() -> Response:
    return page("attachments", _filtered(), _SORTABLE, _brief, "attachments")


@route("/attachments/detail")
def list_attachments_in_detail() -> Response:
    return page("attachments", _filtered(), _SORTABLE, _shown, "attachments")
