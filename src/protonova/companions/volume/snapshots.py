"""Snapshots: copies of the data of a volume at one moment."""

import sqlite3
from typing import Any

import orjson
from flask import Response, request

from protonova.companions import check, clock, store, web
from protonova.companions.caller import caller
from protonova.companions.cloud import cloud
from protonova.companions.fault import Fault, bad
from protonova.companions.project_routes import writer
from protonova.companions.volume import microversion, quotas, worker
from protonova.companions.volume.routes import (
    action,
    filter_metadata,
    found,
    now,
    page,
    read,
    route,
    within,
    write,
)

_SORTABLE = {"id", "name", "display_name", "size", "status", "created_at", "updated_at", "volume_id"}
_STATUSES = ("available", "creating", "deleting", "error", "error_deleting")


def plain(row: store.Row) -> dict[str, Any]:
    """A snapshot as short lists and the answers to its creation and change show it."""
    body = {
        "id": row["id"],
        "name": row["name"],
        "description": row["description"],
        "volume_id": row["volume_id"],
        "size": row["size"],
        "status": row["status"],
        "metadata": orjson.loads(row["metadata"]),
        "created_at": clock.naive(row["created_at"]),
        "updated_at": clock.naive(row["updated_at"]),
    }
    for minor, name, value in (
        (14, "group_snapshot_id", None),
        (41, "user_id", row["user_id"]),
        (65, "consumes_quota", True),
    ):
        if microversion.at_least(minor):
            body[name] = value
    return body


def view(_: sqlite3.Connection, row: store.Row) -> dict[str, Any]:
    return {
        **plain(row),
        "os-extended-snapshot-attributes:project_id": row["project_id"],
        "os-extended-snapshot-attributes:progress": "100%" if row["status"] == "available" else "0%",
    }


def _brief(_: sqlite3.Connection, row: store.Row) -> dict[str, Any]:
    return plain(row)


def _filtered() -> store.Where:
    where = within()
    for name in ("name", "status", "volume_id", "id"):
        if name in request.args:
            where.equals(name, request.args[name])
    if "metadata" in request.args:
        filter_metadata(where, request.args["metadata"])
    return where


@route("/snapshots")
def list_snapshots() -> Response:
    return page("snapshots", _filtered(), _SORTABLE, _brief, "snapshots")


@route("/snapshots/detail")
def list_snapshots_in_detail() -> Response:
    return page("snapshots", _filtered(), _SORTABLE, view, "snapshots")


@route("/snapshots/<ident>")
def show_snapshot(ident: str) -> Response:
    caller()
    return web.answer({"snapshot": read(lambda db: view(db, found(db, "snapshots", ident)))})


@route("/snapshots", "POST")
def create_snapshot() -> Response:
    who = writer()
    given = web.document("snapshot")
    volume_id = check.text(given, "volume_id", null=True) or "none"
    force = bool(check.flag(given, "force", False)) or microversion.at_least(66)
    stamp = clock.now()
    row = {
        "id": web.new_id(),
        "volume_id": volume_id,
        "name": check.text(given, "name", None, null=True)
        or check.text(given, "display_name", "", null=True)
        or "",
        "description": check.text(given, "description", None, null=True),
        "user_id": who.user_id,
        "status": "creating",
        "metadata": orjson.dumps(check.strings("metadata", given.get("metadata") or {})).decode(),
        "created_at": stamp,
        "updated_at": stamp,
    }

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        volume = found(db, "volumes", volume_id)
        if volume["status"] != "available" and not (force and volume["status"] == "in-use"):
            raise bad(f"Invalid volume: Volume {volume_id} status must be available, but current status is: "
                      f"{volume['status']}.")  # fmt: skip
        quotas.charge(db, volume["project_id"], "snapshots", volume["size"])
        row.update(project_id=volume["project_id"], size=volume["size"])
        store.insert(db, "snapshots", row)
        return plain(row)

    body = write(work)
    here, ident = cloud(), row["id"]
    here.volume_worker.put(lambda: worker.take_snapshot(here, ident))
    return web.answer({"snapshot": body}, 202)


@route("/snapshots/<ident>", "PUT")
def update_snapshot(ident: str) -> Response:
    writer()
    given = web.document("snapshot")

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        row = found(db, "snapshots", ident)
        changes = {
            "name": check.text(given, "name", row["name"], null=True) or "",
            "description": check.text(given, "description", row["description"], null=True),
            **now(),
        }
        store.update(db, "snapshots", changes, id=ident)
        return plain({**row, **changes})

    return web.answer({"snapshot": write(work)})


@route("/snapshots/<ident>", "DELETE")
def delete_snapshot(ident: str) -> Response:
    writer()
    _remove(ident, force=False)
    return web.empty(202)


def _remove(ident: str, *, force: bool) -> None:
    def mark(db: sqlite3.Connection) -> None:
        row = found(db, "snapshots", ident)
        if not force and row["status"] not in ("available", "error", "error_deleting"):
            raise bad(f"Invalid snapshot: Snapshot {ident} is in status {row['status']}.")
        if not force and store.count(db, "volumes", snapshot_id=ident, status="creating"):
            raise bad(f"Invalid snapshot: A volume is being made from snapshot {ident}.")
        store.update(db, "snapshots", {"status": "deleting", **now()}, id=ident)

    write(mark)
    worker.drop_snapshot(cloud(), ident)


@route("/snapshots/<ident>/action", "POST")
def act_on_snapshot(ident: str) -> Response:
    name, given = action(("os-reset_status", "os-force_delete", "os-update_snapshot_status"))
    writer()
    if name != "os-update_snapshot_status":
        caller().require_admin()
    if name == "os-force_delete":
        _remove(ident, force=True)
        return web.empty(202)
    status = check.choice(given, "status", _STATUSES)

    def work(db: sqlite3.Connection) -> None:
        found(db, "snapshots", ident)
        if not store.update(db, "snapshots", {"status": status, **now()}, id=ident):
            raise Fault(404, f"Snapshot {ident} could not be found.")

    write(work)
    return web.empty(202)
