"""Volumes as records: create from nothing, an image, a snapshot or a volume; show, list, update, delete."""

import sqlite3
from typing import Any

import orjson
from flask import Response, request

from protonova.companions import check, clock, store, web
from protonova.companions.caller import Caller, caller
from protonova.companions.cloud import cloud
from protonova.companions.fault import Fault, bad
from protonova.companions.image.routes import visible as visible_image
from protonova.companions.project_routes import writer
from protonova.companions.volume import microversion, quotas, types, worker
from protonova.companions.volume.files import GIB
from protonova.companions.volume.routes import (
    filter_metadata,
    found,
    links,
    now,
    page,
    read,
    route,
    within,
    write,
)

_SORTABLE = {
    "id",
    "name",
    "display_name",
    "size",
    "status",
    "created_at",
    "updated_at",
    "bootable",
    "availability_zone",
}
DELETABLE = ("available", "error", "error_restoring", "error_extending", "error_managing", "error_deleting")


def attached(db: sqlite3.Connection, row: store.Row) -> list[dict[str, Any]]:
    """What a volume shows of its attachments: those that a server really has."""
    rows = store.select(db, "attachments", store.Where(volume_id=row["id"]), "ORDER BY created_at, id")
    return [
        {
            "id": row["id"],
            "attachment_id": entry["id"],
            "volume_id": row["id"],
            "server_id": entry["instance_uuid"],
            "host_name": entry["host"] if caller().is_privileged else None,
            "device": entry["mountpoint"],
            "attached_at": clock.naive(entry["attached_at"]),
        }
        for entry in rows
        if entry["status"] == "attached"
    ]


def _metadata(row: store.Row) -> dict[str, str]:
    metadata: dict[str, str] = orjson.loads(row["metadata"])
    if row["readonly"] is not None:
        metadata["readonly"] = str(bool(row["readonly"]))
    return metadata


def plain(db: sqlite3.Connection, row: store.Row) -> dict[str, Any]:
    """A volume as the answer to its creation or change shows it."""
    type_row = store.find(db, "volume_types", id=row["volume_type_id"]) or {"name": None}
    body: dict[str, Any] = {
        "id": row["id"],
        "name": row["name"],
        "description": row["description"],
        "size": row["size"],
        "status": row["status"],
        "availability_zone": row["availability_zone"],
        "created_at": clock.naive(row["created_at"]),
        "updated_at": clock.naive(row["updated_at"]),
        "attachments": attached(db, row),
        "volume_type": type_row["name"],
        "snapshot_id": row["snapshot_id"],
        "source_volid": row["source_volid"],
        "bootable": "true" if row["bootable"] else "false",
        "encrypted": False,
        "multiattach": bool(row["multiattach"]),
        "metadata": _metadata(row),
        "user_id": row["user_id"],
        "consistencygroup_id": None,
        "replication_status": None,
        "links": links(f"volumes/{row['id']}"),
    }
    if caller().is_privileged:
        body["migration_status"] = row["migration_status"]
    for minor, name, value in (
        (13, "group_id", None),
        (21, "provider_id", None),
        (48, "shared_targets", False),
        (48, "service_uuid", None),
        (63, "volume_type_id", row["volume_type_id"]),
        (65, "consumes_quota", True),
    ):
        if microversion.at_least(minor):
            body[name] = value
    return body


def view(db: sqlite3.Connection, row: store.Row) -> dict[str, Any]:
    body = {**plain(db, row), "os-vol-tenant-attr:tenant_id": row["project_id"]}
    if row["image_id"] or row["image_metadata"] != "{}":
        body["volume_image_metadata"] = orjson.loads(row["image_metadata"])
    if caller().is_privileged:
        body["os-vol-host-attr:host"] = f"{cloud().settings.volume_host}#files"
        body["os-vol-mig-status-attr:migstat"] = row["migration_status"]
        body["os-vol-mig-status-attr:name_id"] = None
        if microversion.at_least(61):
            body["cluster_name"] = None
    return body


def _brief(_: sqlite3.Connection, row: store.Row) -> dict[str, Any]:
    return {"id": row["id"], "name": row["name"], "links": links(f"volumes/{row['id']}")}


def _filtered() -> store.Where:
    where = within()
    args = request.args
    for name in ("name", "status", "availability_zone", "snapshot_id", "source_volid", "id", "user_id"):
        if name in args:
            where.equals(name, args[name])
    if "name~" in args and microversion.at_least(34):
        where.add("instr(name, ?) > 0", args["name~"])
    for name in ("bootable", "multiattach"):
        if name in args:
            where.equals(name, int(web.flag(name, args[name])))
    if "metadata" in args:
        filter_metadata(where, args["metadata"])
    return where


@route("/volumes")
def list_volumes() -> Response:
    return page("volumes", _filtered(), _SORTABLE, _brief, "volumes")


@route("/volumes/detail")
def list_volumes_in_detail() -> Response:
    return page("volumes", _filtered(), _SORTABLE, view, "volumes")


@route("/volumes/summary")
def summarize_volumes() -> Response:
    microversion.require(12)
    where = within()
    rows = read(lambda db: store.select(db, "volumes", where))
    summary: dict[str, Any] = {"total_count": len(rows), "total_size": sum(row["size"] for row in rows)}
    if microversion.at_least(36):
        merged: dict[str, list[str]] = {}
        for row in rows:
            for key, value in orjson.loads(row["metadata"]).items():
                if value not in merged.setdefault(key, []):
                    merged[key].append(value)
        summary["metadata"] = merged
    return web.answer({"volume-summary": summary})


@route("/volumes/<ident>")
def show_volume(ident: str) -> Response:
    caller()
    return web.answer({"volume": read(lambda db: view(db, found(db, "volumes", ident)))})


def _image(given: dict[str, Any], size: int | None) -> store.Row | None:
    ident = given.get("imageRef") or given.get("image_id")
    if not ident:
        return None
    if not isinstance(ident, str):
        raise bad("'imageRef' must be an id.")
    try:
        row: store.Row = cloud().image.read(lambda db: visible_image(db, ident))
    except Fault as error:
        raise bad(f"Image {ident} could not be found.") from error
    if row["status"] != "active":
        raise bad(f"Image {ident} is not active.")
    needed = max(row["min_disk"], -(-(row["virtual_size"] or row["size"]) // GIB))
    if size is not None and size < needed:
        raise bad(f"Image {ident} needs a volume of {needed} GiB at least, not {size}.")
    return row


def _sources(db: sqlite3.Connection, given: dict[str, Any], row: store.Row) -> None:
    """Settle the size and what else comes from a snapshot or a volume."""
    for name, table in (("snapshot_id", "snapshots"), ("source_volid", "volumes")):
        if row[name] is None:
            continue
        source = found(db, table, row[name])
        if source["status"] not in ("available", "in-use"):
            raise bad(f"The source {row[name]} is in status {source['status']}.")
        row["size"] = row["size"] or source["size"]
        if row["size"] < source["size"]:
            raise bad(f"A volume made from {row[name]} has {source['size']} GiB at least, not {row['size']}.")
        origin = source if table == "volumes" else store.find(db, "volumes", id=source["volume_id"]) or {}
        if origin:
            row["bootable"], row["image_metadata"] = origin["bootable"], origin["image_metadata"]
            if given.get("volume_type") is None:
                row["volume_type_id"] = origin["volume_type_id"]


@route("/volumes", "POST")
def create_volume() -> Response:
    who = writer()
    given = web.document("volume")
    row = _new(who, given)
    image = _image(given, row["size"])
    if sum(value is not None for value in (image, row["snapshot_id"], row["source_volid"])) > 1:
        raise bad("A volume has one source.")
    if image:
        row.update(
            image_id=image["id"], bootable=1, image_metadata=worker.image_facts(image), status="downloading"
        )

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        type_row = types.chosen(db, given.get("volume_type"))
        row["volume_type_id"] = type_row["id"]
        row["multiattach"] = int(types.allows_multiattach(type_row))
        _sources(db, given, row)
        if row["size"] is None:
            raise bad("'size' is required.")
        quotas.charge_size(db, who.project_id, row["size"])
        quotas.charge(db, who.project_id, "volumes", row["size"])
        store.insert(db, "volumes", row)
        return {**plain(db, row), "status": "creating"}

    body = write(work)
    here, ident = cloud(), row["id"]
    if image or row["snapshot_id"] or row["source_volid"]:
        here.volume_worker.put(lambda: worker.fill(here, ident))
    else:
        worker.fill(here, ident)
    return web.answer({"volume": body}, 202)


def _new(who: Caller, given: dict[str, Any]) -> store.Row:
    stamp = clock.now()
    zone = check.text(given, "availability_zone", None, null=True)
    if zone not in (None, "", cloud().settings.availability_zone):
        raise bad(f"Availability zone '{zone}' is invalid.")
    for name in ("snapshot_id", "source_volid"):
        if given.get(name) is not None and not check.is_uuid(given[name]):
            raise bad(f"'{name}' must be a UUID.")
    if given.get("multiattach"):
        raise bad(
            "A volume for several servers is made with a volume type whose extra spec multiattach says so."
        )
    return {
        "id": web.new_id(),
        "name": check.text(given, "name", None, null=True)
        or check.text(given, "display_name", "", null=True)
        or "",
        "description": check.text(given, "description", None, null=True),
        "project_id": who.project_id,
        "user_id": who.user_id,
        "size": check.integer(given, "size", None, least=1, most=2**20, null=True),
        "status": "creating",
        "previous_status": None,
        "availability_zone": cloud().settings.availability_zone,
        "volume_type_id": "",
        "snapshot_id": given.get("snapshot_id"),
        "source_volid": given.get("source_volid"),
        "image_id": None,
        "bootable": 0,
        "multiattach": 0,
        "readonly": None,
        "metadata": orjson.dumps(check.strings("metadata", given.get("metadata") or {})).decode(),
        "image_metadata": "{}",
        "migration_status": None,
        "created_at": stamp,
        "updated_at": stamp,
    }


@route("/volumes/<ident>", "PUT")
def update_volume(ident: str) -> Response:
    writer()
    given = web.document("volume")

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        row = found(db, "volumes", ident)
        changes: dict[str, Any] = dict(now())
        for name, alias in (("name", "display_name"), ("description", "display_description")):
            entry = {name: given.get(name, given.get(alias, row[name]))}
            changes[name] = check.text(entry, name, null=True)
        changes["name"] = changes["name"] or ""
        if given.get("metadata") is not None:
            changes["metadata"] = orjson.dumps(check.strings("metadata", given["metadata"])).decode()
        store.update(db, "volumes", changes, id=ident)
        return plain(db, {**row, **changes})

    return web.answer({"volume": write(work)})


@route("/volumes/<ident>", "DELETE")
def delete_volume(ident: str) -> Response:
    writer()
    remove(ident, force=_said("force"), cascade=_said("cascade"))
    return web.empty(202)


def _said(name: str) -> bool:
    return name in request.args and web.yes(request.args[name])


def remove(ident: str, *, force: bool, cascade: bool = False) -> None:
    here = cloud()
    if force:
        caller().require_admin()

    def mark(db: sqlite3.Connection) -> list[str]:
        row = found(db, "volumes", ident)
        if not force and row["status"] not in DELETABLE:
            raise bad(
                f"Invalid volume: Volume {ident} is deleted in status {' or '.join(DELETABLE[:2])}, "
                f"not in {row['status']}."
            )
        if not force and store.count(db, "attachments", volume_id=ident):
            raise bad(f"Invalid volume: Volume {ident} is still attached or reserved.")
        snapshots = [entry["id"] for entry in store.select(db, "snapshots", store.Where(volume_id=ident))]
        if snapshots and not cascade:
            raise bad(f"Invalid volume: Volume {ident} still has snapshots.")
        for snapshot in snapshots:
            store.update(db, "snapshots", {"status": "deleting"}, id=snapshot)
        store.update(db, "volumes", {"status": "deleting", **now()}, id=ident)
        return snapshots

    for snapshot in write(mark):
        worker.drop_snapshot(here, snapshot)
    worker.drop_volume(here, ident)
