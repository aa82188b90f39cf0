"""Shares as records: create, show, list, update, delete, and where they are exported.

A share is a directory of this machine. Its protocol says so: LOCAL, which hosts on this machine mount by its path.
Sizes are written down and not enforced.
"""

import sqlite3
from typing import Any

import orjson
from flask import Response, request

from protonova.companions import check, clock, paging, store, web
from protonova.companions.caller import caller
from protonova.companions.cloud import Cloud, cloud
from protonova.companions.fault import Fault, bad, conflict, forbidden
from protonova.companions.project_routes import writer
from protonova.companions.share import discovery, microversion
from protonova.companions.share.routes import everything, found_share, links, read, route, window, write

PROTOCOL = "LOCAL"
_HOST = "companion@directories#pool"
_DELETABLE = ("available", "error", "inactive")
_SORTABLE = {"id", "name", "size", "status", "created_at", "updated_at"}
_STATUSES = ("available", "creating", "deleting", "error", "error_deleting", "inactive")


def start(here: Cloud) -> None:
    """Goes on with what an earlier process did not finish."""
    for row in here.share.read(lambda db: store.select(db, "shares", store.Where(status="creating"))):
        _make(here, row["id"])
    for row in here.share.read(lambda db: store.select(db, "shares", store.Where(status="deleting"))):
        _drop(here, row["id"])


def _make(here: Cloud, ident: str) -> None:
    here.share_directories.make(ident)
    changes = {"status": "available", "updated_at": clock.now()}
    here.share.write(lambda db: store.update(db, "shares", changes, id=ident, status="creating"))


def _drop(here: Cloud, ident: str) -> None:
    here.share_directories.drop(ident)
    here.share.write(lambda db: store.delete(db, "shares", id=ident, status="deleting"))


def _detail(row: store.Row) -> dict[str, Any]:
    body = {
        "id": row["id"],
        "name": row["name"],
        "description": row["description"],
        "size": row["size"],
        "status": row["status"],
        "share_proto": PROTOCOL,
        "project_id": row["project_id"],
        "is_public": bool(row["is_public"]),
        "metadata": orjson.loads(row["metadata"]),
        "share_type": discovery.TYPE_ID,
        "share_type_name": discovery.TYPE,
        "volume_type": discovery.TYPE,
        "availability_zone": cloud().settings.availability_zone,
        "access_rules_status": "active",
        "snapshot_id": None,
        "snapshot_support": False,
        "create_share_from_snapshot_support": False,
        "revert_to_snapshot_support": False,
        "mount_snapshot_support": False,
        "share_network_id": None,
        "share_group_id": None,
        "source_share_group_snapshot_member_id": None,
        "has_replicas": False,
        "replication_type": None,
        "task_state": None,
        "progress": "100%",
        "is_soft_deleted": False,
        "scheduled_to_be_deleted_at": None,
        "created_at": clock.naive(row["created_at"]),
        "links": links(f"shares/{row['id']}"),
    }
    if microversion.at_least(16):
        body["user_id"] = row["user_id"]
    if caller().is_privileged:
        body |= {"host": _HOST, "share_server_id": None}
    if not microversion.at_least(9):
        path = str(cloud().share_directories.path(row["id"]))
        body |= {"export_location": path, "export_locations": [path]}
    return body


def _brief(row: store.Row) -> dict[str, Any]:
    return {"id": row["id"], "name": row["name"], "links": links(f"shares/{row['id']}")}


def _listed() -> tuple[list[store.Row], int]:
    who, args = caller(), request.args
    where = store.Where()
    if not everything("all_tenants"):
        where.add(
            "project_id = ? OR (is_public AND ?)",
            who.project_id,
            int("is_public" in args and web.yes(args["is_public"])),
        )
    elif "project_id" in args:
        where.equals("project_id", args["project_id"])
    if "is_soft_deleted" in args and web.flag("is_soft_deleted", args["is_soft_deleted"]):
        where.add("0")  # what is deleted here is gone
    for name in ("name", "status"):
        if name in args:
            where.equals(name, args[name])
    for name, column in (("name~", "name"), ("description~", "description")):
        if name in args:
            where.add(f"instr(ifnull({column}, ''), ?)", args[name])
    sorting = paging.order([(args.get("sort_key", "created_at"), args.get("sort_dir", "desc"))], _SORTABLE)
    tail = f"{paging.clause(sorting)} {window()}"

    def work(db: sqlite3.Connection) -> tuple[list[store.Row], int]:
        total = db.execute(f"SELECT count(*) AS n FROM shares{where.text}", where.values).fetchone()["n"]  # noqa: S608
        return store.select(db, "shares", where, tail), total

    rows, total = read(work)
    return rows, total


def _answered(bodies: list[dict[str, Any]], total: int) -> Response:
    document: dict[str, Any] = {"shares": bodies}
    if "with_count" in request.args and web.yes(request.args["with_count"]):
        document["count"] = total
    return web.answer(document)


@route("/shares")
def list_shares() -> Response:
    rows, total = _listed()
    return _answered([_brief(row) for row in rows], total)


@route("/shares/detail")
def list_shares_in_detail() -> Response:
    rows, total = _listed()
    return _answered([_detail(row) for row in rows], total)


@route("/shares/<ident>")
def show_share(ident: str) -> Response:
    caller()
    return web.answer({"share": _detail(read(lambda db: found_share(db, ident)))})


@route("/shares", "POST")
def create_share() -> Response:
    who = writer()
    given = web.document("share")
    protocol = check.text(given, "share_proto", PROTOCOL, null=True) or PROTOCOL
    if protocol.upper() != PROTOCOL:
        raise bad(
            f"Invalid share protocol provided: {protocol}. It is either disabled or unsupported. Available "
            f"protocols: ['{PROTOCOL}']."
        )
    for name in ("snapshot_id", "share_network_id", "share_group_id"):
        if given.get(name):
            raise bad(f"'{name}' is not served here.")
    if given.get("share_type") not in (None, discovery.TYPE, discovery.TYPE_ID):
        raise Fault(404, f"Share type {given['share_type']} could not be found.")
    zone = check.text(given, "availability_zone", None, null=True)
    if zone not in (None, "", cloud().settings.availability_zone):
        raise Fault(404, f"Availability zone {zone} could not be found.")
    stamp = clock.now()
    row = {
        "id": web.new_id(),
        "name": check.text(given, "name", None, null=True),
        "description": check.text(given, "description", None, null=True),
        "project_id": who.project_id,
        "user_id": who.user_id,
        "size": check.integer(given, "size", least=1, most=2**20),
        "status": "creating",
        "is_public": int(check.flag(given, "is_public", False)),
        "metadata": orjson.dumps(check.strings("metadata", given.get("metadata") or {})).decode(),
        "created_at": stamp,
        "updated_at": stamp,
    }
    if row["is_public"] and not who.is_admin:
        raise forbidden("A share that everybody sees needs the role admin.")
    write(lambda db: store.insert(db, "shares", row))
    _make(cloud(), row["id"])
    return web.answer({"share": _detail(row)})


@route("/shares/<ident>", "PUT")
def update_share(ident: str) -> Response:
    writer()
    given = web.document("share")

    def work(db: sqlite3.Connection) -> store.Row:
        row = found_share(db, ident, to_change=True)
        changes: dict[str, Any] = {"updated_at": clock.now()}
        for name in ("name", "description"):
            entry = {name: given.get(f"display_{name}", given.get(name, row[name]))}
            changes[name] = check.text(entry, name, null=True)
        changes["is_public"] = int(check.flag(given, "is_public", bool(row["is_public"])))
        if changes["is_public"] and not row["is_public"] and not caller().is_admin:
            raise forbidden("A share that everybody sees needs the role admin.")
        store.update(db, "shares", changes, id=ident)
        return {**row, **changes}

    return web.answer({"share": _detail(write(work))})


@route("/shares/<ident>", "DELETE")
def delete_share(ident: str) -> Response:
    writer()
    remove(ident)
    return web.empty(202)


def remove(ident: str, *, force: bool = False) -> None:
    def mark(db: sqlite3.Connection) -> None:
        row = found_share(db, ident, to_change=True)
        if not force and row["status"] not in _DELETABLE:
            raise forbidden(
                f"Share {ident} is deleted in status {' or '.join(_DELETABLE)}, not in {row['status']}."
            )
        held = store.select(db, "locks", store.Where(resource_id=ident, resource_action="delete"))
        if held:
            raise conflict(
                f"Share {ident} is locked: {'; '.join(lock['lock_reason'] or lock['id'] for lock in held)}"
            )
        store.update(db, "shares", {"status": "deleting", "updated_at": clock.now()}, id=ident)

    write(mark)
    _drop(cloud(), ident)


def extend(ident: str, given: dict[str, Any]) -> Response:
    size = check.integer(given, "new_size", least=1, most=2**20)

    def work(db: sqlite3.Connection) -> None:
        row = found_share(db, ident, to_change=True)
        if size <= row["size"]:
            raise bad(f"'new_size' must be more than the {row['size']} GiB that share {ident} has.")
        store.update(db, "shares", {"size": size, "updated_at": clock.now()}, id=ident)

    write(work)
    return web.empty(202)


def reset_status(ident: str, given: dict[str, Any]) -> Response:
    caller().require_admin()
    changes = {"status": check.choice(given, "status", _STATUSES), "updated_at": clock.now()}

    def work(db: sqlite3.Connection) -> None:
        found_share(db, ident)
        store.update(db, "shares", changes, id=ident)

    write(work)
    return web.empty(202)


def force_delete(ident: str, _: dict[str, Any]) -> Response:
    caller().require_admin()
    remove(ident, force=True)
    return web.empty(202)


def _location(row: store.Row) -> dict[str, Any]:
    """A share has one, whose id is its own."""
    body: dict[str, Any] = {
        "id": row["id"],
        "path": str(cloud().share_directories.path(row["id"])),
        "preferred": False,
        "created_at": clock.naive(row["created_at"]),
        "updated_at": None,
    }
    if caller().is_privileged:
        body |= {"share_instance_id": row["id"], "is_admin_only": False}
    return body


@route("/shares/<ident>/export_locations")
def list_export_locations(ident: str) -> Response:
    microversion.require(9)
    row = read(lambda db: found_share(db, ident))
    return web.answer({"export_locations": [_location(row)] if row["status"] == "available" else []})


@route("/shares/<ident>/export_locations/<location>")
def show_export_location(ident: str, location: str) -> Response:
    microversion.require(9)
    row = read(lambda db: found_share(db, ident))
    if location != row["id"]:
        raise Fault(404, f"Export location {location} of share {ident} could not be found.")
    return web.answer({"export_location": _location(row)})
