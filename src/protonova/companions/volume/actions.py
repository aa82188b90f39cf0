"""Actions on a volume: the older way to attach one, and what else changes it."""

import sqlite3
from collections.abc import Callable
from typing import Any

import orjson
from flask import Response

from protonova.companions import check, clock, store, web
from protonova.companions.caller import caller
from protonova.companions.cloud import cloud
from protonova.companions.fault import Fault, bad
from protonova.companions.image import data as image_data
from protonova.companions.project_routes import writer
from protonova.companions.volume import attachments, connection, quotas, types, volumes, worker
from protonova.companions.volume.files import converts
from protonova.companions.volume.microversion import require
from protonova.companions.volume.routes import action, found, now, read, route, write

Given = dict[str, Any]
_STATUSES = (
    "creating", "available", "attaching", "in-use", "deleting", "error", "error_deleting", "maintenance",
    "detaching", "reserved", "downloading", "uploading", "error_extending", "retyping", "extending",
)  # fmt: skip


def _move(ident: str, before: tuple[str, ...], after: str) -> None:
    """Change the status, if it is one of those it may be changed from."""

    def work(db: sqlite3.Connection) -> None:
        row = found(db, "volumes", ident)
        if row["status"] not in before:
            wanted = " or ".join(before)
            raise bad(
                f"Invalid volume: Volume {ident} status must be {wanted}, but current status is {row['status']}."
            )
        store.update(db, "volumes", {"status": after, **now()}, id=ident)

    write(work)


def _reserve(ident: str, _: Given) -> Response:
    _move(ident, ("available",), "attaching")
    return web.empty(202)


def _unreserve(ident: str, _: Given) -> Response:
    def work(db: sqlite3.Connection) -> None:
        row = found(db, "volumes", ident)
        if row["status"] in ("attaching", "reserved"):
            attachments.settle(db, ident)

    write(work)
    return web.empty(202)


def _begin_detaching(ident: str, _: Given) -> Response:
    _move(ident, ("in-use",), "detaching")
    return web.empty(202)


def _roll_detaching(ident: str, _: Given) -> Response:
    _move(ident, ("detaching",), "in-use")
    return web.empty(202)


def _attach(ident: str, given: Given) -> Response:
    server_id = check.text(given, "instance_uuid", None, null=True)
    host = check.text(given, "host_name", None, null=True)
    if not server_id and not host:
        raise bad("Either instance_uuid or host_name must be given.")
    mode = check.choice(given, "mode", ("rw", "ro"), "rw")

    def work(db: sqlite3.Connection) -> None:
        row = found(db, "volumes", ident)
        if row["status"] not in ("available", "attaching", "reserved") and not row["multiattach"]:
            raise bad(f"Invalid volume: Volume {ident} is in status {row['status']}.")
        entry = attachments.reserve(db, {**row, "status": "available"}, server_id, mode)
        changes = {"mountpoint": check.text(given, "mountpoint", None, null=True), "host": host}
        store.update(db, "attachments", changes, id=entry["id"])
        attachments.complete(db, entry)

    write(work)
    return web.empty(202)


def _detach(ident: str, given: Given) -> Response:
    wanted = check.text(given, "attachment_id", None, null=True)

    def work(db: sqlite3.Connection) -> None:
        row = found(db, "volumes", ident)
        held = store.select(db, "attachments", store.Where(volume_id=ident))
        if row["status"] not in ("in-use", "detaching", "attaching"):
            raise bad(f"Invalid volume: Volume {ident} is in status {row['status']}.")
        if wanted:
            held = [entry for entry in held if entry["id"] == wanted]
            if not held:
                raise Fault(
                    404, f"Volume attachment could not be found with filter: attachment_id = {wanted}."
                )
        elif len(held) > 1:
            raise bad(f"Volume {ident} has several attachments; attachment_id must tell which.")
        for entry in held:
            store.delete(db, "attachments", id=entry["id"])
        attachments.settle(db, ident)

    write(work)
    return web.empty(202)


def _force_detach(ident: str, given: Given) -> Response:
    caller().require_admin()
    return _detach(ident, given)


def _initialize(ident: str, given: Given) -> Response:
    if not isinstance(given.get("connector"), dict):
        raise bad("'connector' must be an object.")
    row = read(lambda db: found(db, "volumes", ident))
    return web.answer({"connection_info": connection.nested(row)})


def _terminate(ident: str, given: Given) -> Response:
    """Nothing is kept of a connection to a file."""
    if not isinstance(given.get("connector"), dict):
        raise bad("'connector' must be an object.")
    read(lambda db: found(db, "volumes", ident))
    return web.empty(202)


def _reset_status(ident: str, given: Given) -> Response:
    caller().require_admin()
    changes: dict[str, Any] = {}
    if given.get("status") is not None:
        changes["status"] = check.choice(given, "status", _STATUSES)
    if given.get("migration_status") is not None:
        wanted = check.text(given, "migration_status")
        changes["migration_status"] = None if wanted == "none" else wanted
    wanted = given.get("attach_status")
    if wanted not in (None, "detached", "attached"):
        raise bad("'attach_status' must be attached or detached.")
    if not changes and wanted is None:
        raise bad("Must specify 'status', 'attach_status', or 'migration_status' for update.")

    def work(db: sqlite3.Connection) -> None:
        found(db, "volumes", ident)
        if wanted == "detached":
            store.delete(db, "attachments", volume_id=ident)
        store.update(db, "volumes", {**changes, **now()}, id=ident)

    write(work)
    return web.empty(202)


def _complete_migration(ident: str, given: Given) -> Response:
    """Whoever has copied a volume to a new one says so, or that it failed. The volume goes on under its own id, and
    the new one is no more in any case. That both are on the move is said by `os-reset_status`: nothing here moves
    volumes by itself."""
    if not caller().is_privileged:
        caller().require_admin()
    wanted = check.text(given, "new_volume", least=1)
    failed = check.flag(given, "error", False)

    def work(db: sqlite3.Connection) -> None:
        row, new = found(db, "volumes", ident), found(db, "volumes", wanted)
        if not row["migration_status"]:
            raise bad(f"Invalid volume: Volume {ident} is not mid-migration.")
        if new["migration_status"] != f"target:{ident}":
            raise bad(f"Invalid volume: Volume {wanted} is not what volume {ident} is migrated to.")
        if store.count(db, "snapshots", volume_id=wanted):
            raise bad(f"Invalid volume: Volume {wanted} has snapshots.")
        changes: Given = {"migration_status": "error" if failed else "success", **now()}
        if failed:
            store.delete(db, "attachments", volume_id=wanted)
            cloud().volume_files.drop(cloud().volume_files.path(wanted))
        else:
            changes.update(size=new["size"], volume_type_id=new["volume_type_id"])
            store.update(db, "attachments", {"volume_id": ident}, volume_id=wanted)
            cloud().volume_files.take_over(ident, wanted)
        store.update(db, "volumes", changes, id=ident)
        store.delete(db, "volumes", id=wanted)
        if not failed:
            attachments.settle(db, ident)

    write(work)
    return web.answer({"save_volume_id": ident})


def _change(ident: str, changes: dict[str, Any], status: int = 200) -> Response:
    def work(db: sqlite3.Connection) -> None:
        found(db, "volumes", ident)
        store.update(db, "volumes", {**changes, **now()}, id=ident)

    write(work)
    return web.empty(status)


def _set_bootable(ident: str, given: Given) -> Response:
    return _change(ident, {"bootable": int(check.flag(given, "bootable"))})


def _set_readonly(ident: str, given: Given) -> Response:
    return _change(ident, {"readonly": int(check.flag(given, "readonly"))}, 202)


def _extend(ident: str, given: Given) -> Response:
    size = check.integer(given, "new_size", least=1, most=2**20)

    def work(db: sqlite3.Connection) -> None:
        row = found(db, "volumes", ident)
        if row["status"] not in ("available", "in-use"):
            raise bad(f"Invalid volume: Volume {ident} is in status {row['status']}.")
        if size <= row["size"]:
            raise bad(f"New size for extend must be greater than current size. (current: {row['size']}, "
                      f"extended: {size}).")  # fmt: skip
        quotas.charge_size(db, row["project_id"], size)
        quotas.charge(db, row["project_id"], None, size - row["size"])
        # A larger file than the row says does no harm; a smaller one would.
        cloud().volume_files.extend(ident, size)
        store.update(db, "volumes", {"size": size, **now()}, id=ident)

    write(work)
    return web.empty(202)


def _retype(ident: str, given: Given) -> Response:
    """All types are files of this machine, so nothing moves."""
    wanted = check.text(given, "new_type", least=1)

    def work(db: sqlite3.Connection) -> None:
        row = found(db, "volumes", ident)
        type_row = types.chosen(db, wanted)
        if row["status"] not in ("available", "in-use"):
            raise bad(f"Invalid volume: Volume {ident} is in status {row['status']}.")
        multiattach = int(types.allows_multiattach(type_row))
        if row["status"] == "in-use" and multiattach != row["multiattach"]:
            raise bad("The use by several servers does not change while a volume is in use.")
        changes = {"volume_type_id": type_row["id"], "multiattach": multiattach, **now()}
        store.update(db, "volumes", changes, id=ident)

    write(work)
    return web.empty(202)


def _force_delete(ident: str, _: Given) -> Response:
    volumes.remove(ident, force=True)
    return web.empty(202)


def _image_metadata(ident: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Response:
    def work(db: sqlite3.Connection) -> dict[str, Any]:
        row = found(db, "volumes", ident)
        metadata = change(orjson.loads(row["image_metadata"]))
        store.update(db, "volumes", {"image_metadata": orjson.dumps(metadata).decode(), **now()}, id=ident)
        return metadata

    return web.answer({"metadata": write(work)})


def _set_image_metadata(ident: str, given: Given) -> Response:
    metadata = check.strings("metadata", given.get("metadata"))
    return _image_metadata(ident, lambda held: {**held, **metadata})


def _show_image_metadata(ident: str, _: Given) -> Response:
    return web.answer(
        {"metadata": orjson.loads(read(lambda db: found(db, "volumes", ident))["image_metadata"])}
    )


def _unset_image_metadata(ident: str, given: Given) -> Response:
    key = check.text(given, "key", least=1)

    def change(held: dict[str, Any]) -> dict[str, Any]:
        if key not in held:
            raise Fault(404, f"There is no metadata {key}.")
        return {name: value for name, value in held.items() if name != key}

    _image_metadata(ident, change)
    return web.empty(200)


def _upload(ident: str, given: Given) -> Response:
    """Make an image of the volume; the data follows in the background."""
    who = caller()
    disk_format = check.text(given, "disk_format", "raw")
    if disk_format != "raw" and not (disk_format == "qcow2" and converts()):
        raise bad("An image of a volume is made in the format raw, or qcow2 where qemu-img is installed.")
    name = check.text(given, "image_name", least=1)
    force = check.flag(given, "force", False)
    here, stamp = cloud(), clock.now()
    allowed = ("available", "in-use") if force else ("available",)

    def begin(db: sqlite3.Connection) -> store.Row:
        row = found(db, "volumes", ident)
        if row["status"] not in allowed:
            raise bad(f"Invalid volume: Volume {ident} is in status {row['status']}.")
        changes = {"status": "uploading", "previous_status": row["status"], **now()}
        store.update(db, "volumes", changes, id=ident)
        return {**row, **changes}

    volume = write(begin)
    image = {
        "id": web.new_id(),
        "name": name,
        "status": "queued",
        "visibility": "shared",
        "owner": who.project_id,
        "protected": 0,
        "os_hidden": 0,
        "container_format": check.text(given, "container_format", "bare"),
        "disk_format": disk_format,
        "min_disk": volume["size"],
        "min_ram": 0,
        "created_at": stamp,
        "updated_at": stamp,
        "properties": "{}",
    }

    def take(db: sqlite3.Connection) -> str:
        store.insert(db, "images", image)
        return image_data.begin(db, image["id"], image)

    upload_id = here.image.write(take)
    here.volume_worker.put(lambda: worker.upload(here, ident, image, upload_id))
    body = {
        "id": ident,
        "image_id": image["id"],
        "image_name": name,
        "status": "uploading",
        "size": volume["size"],
        "disk_format": disk_format,
        "container_format": image["container_format"],
        "display_description": volume["description"],
        "updated_at": clock.naive(volume["updated_at"]),
        "volume_type": None,
        "visibility": "shared",
        "protected": False,
    }
    return web.answer({"os-volume_upload_image": body}, 202)


def _reimage(ident: str, given: Given) -> Response:
    require(68)
    image_id = check.text(given, "image_id", least=1)
    reserved = check.flag(given, "reimage_reserved", default=False)
    here = cloud()
    image = here.image.read(lambda db: store.find(db, "images", id=image_id))
    if image is None or image["status"] != "active":
        raise bad(f"Image {image_id} could not be found or is not active.")

    def work(db: sqlite3.Connection) -> None:
        row = found(db, "volumes", ident)
        if row["status"] not in ("available", "error", *(("reserved",) if reserved else ())):
            raise bad(f"Invalid volume: Volume {ident} is in status {row['status']}.")
        changes = {
            "status": "downloading",
            "previous_status": "reserved" if row["status"] == "reserved" else "available",
            "image_id": image_id,
            "image_metadata": worker.image_facts(image),
            # What it was made from once is overwritten.
            "snapshot_id": None,
            "source_volid": None,
            **now(),
        }
        store.update(db, "volumes", changes, id=ident)

    write(work)
    here.volume_worker.put(lambda: worker.fill(here, ident))
    return web.empty(202)


_ACTIONS: dict[str, Callable[[str, Given], Response]] = {
    "os-reserve": _reserve,
    "os-unreserve": _unreserve,
    "os-begin_detaching": _begin_detaching,
    "os-roll_detaching": _roll_detaching,
    "os-attach": _attach,
    "os-detach": _detach,
    "os-force_detach": _force_detach,
    "os-initialize_connection": _initialize,
    "os-terminate_connection": _terminate,
    "os-reset_status": _reset_status,
    "os-migrate_volume_completion": _complete_migration,
    "os-set_bootable": _set_bootable,
    "os-update_readonly_flag": _set_readonly,
    "os-extend": _extend,
    "os-retype": _retype,
    "os-reimage": _reimage,
    "os-force_delete": _force_delete,
    "os-set_image_metadata": _set_image_metadata,
    "os-show_image_metadata": _show_image_metadata,
    "os-unset_image_metadata": _unset_image_metadata,
    "os-volume_upload_image": _upload,
}


@route("/volumes/<ident>/action", "POST")
def act_on_volume(ident: str) -> Response:
    writer()
    name, given = action(_ACTIONS)
    return _ACTIONS[name](ident, given)
