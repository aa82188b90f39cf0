"""Images as records: create, show, update by JSON patch, delete."""

import sqlite3
from typing import Any

import orjson
from flask import Response, request

from protonova.companions import check, clock, store, web
from protonova.companions.caller import caller
from protonova.companions.cloud import cloud
from protonova.companions.fault import Fault, bad, conflict, forbidden
from protonova.companions.image import data, properties
from protonova.companions.image.patch import Change, changes
from protonova.companions.image.routes import blueprint, changeable, read, shown, visible, write

_NEW: dict[str, Any] = {
    "name": None,
    "status": "queued",
    "visibility": "shared",
    "protected": 0,
    "os_hidden": 0,
    "container_format": None,
    "disk_format": None,
    "min_disk": 0,
    "min_ram": 0,
}


@blueprint.post("/v2/images")
def create_image() -> Response:
    who = caller()
    who.require_member()
    given = web.document()
    ident = given.pop("id", None) or web.new_id()
    if not check.is_uuid(ident):
        raise bad("'id' must be a UUID.")
    tags = properties.tag_values(given.pop("tags", []))
    now = clock.now()
    row = {**_NEW, "id": ident.lower(), "owner": who.project_id, "created_at": now, "updated_at": now}
    custom = {}
    for name, value in given.items():
        properties.settable(name)
        if name in properties.SETTABLE:
            row[name] = properties.base_value(who, name, value)
        else:
            custom[name] = properties.custom_value(name, value)
    row["properties"] = orjson.dumps(custom).decode()

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        if not store.insert(db, "images", row, ignore=True):
            raise conflict(f"An image {ident} exists already.")
        _write_tags(db, ident, tags)
        return shown(db, store.find(db, "images", id=row["id"]) or row)

    body = write(work)
    location = f"{cloud().settings.image_url}/v2/images/{ident}"
    return web.answer(body, 201, {"Location": location})


def _write_tags(db: sqlite3.Connection, ident: str, tags: list[str]) -> None:
    store.delete(db, "image_tags", image_id=ident)
    for tag in tags:
        store.insert(db, "image_tags", {"image_id": ident, "value": tag})


@blueprint.get("/v2/images/<ident>")
def show_image(ident: str) -> Response:
    caller()
    return web.answer(read(lambda db: shown(db, visible(db, ident))))


@blueprint.get("/v2/images/<ident>/tasks")
def list_tasks(ident: str) -> Response:
    """None ever: what is asked of an image is done when the answer comes."""
    caller()
    read(lambda db: visible(db, ident))
    return web.answer({"tasks": []})


@blueprint.patch("/v2/images/<ident>")
def update_image(ident: str) -> Response:
    caller()
    wanted = changes()

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        row = changeable(db, ident)
        custom = orjson.loads(row["properties"])
        for change in wanted:
            _apply(db, row, custom, change)
        row["properties"] = orjson.dumps(custom).decode()
        row["updated_at"] = clock.now()
        store.update(db, "images", row, id=ident)
        return shown(db, row)

    return web.answer(write(work))


def _apply(db: sqlite3.Connection, row: store.Row, custom: dict[str, Any], change: Change) -> None:
    name = change.name
    properties.settable(name)
    if name == "id":
        raise forbidden("Attribute 'id' is read-only.")
    if name == "tags":
        if change.verb == "remove":
            raise forbidden("Attribute 'tags' cannot be removed.")
        _write_tags(db, row["id"], properties.tag_values(change.value))
    elif name in properties.SETTABLE:
        if change.verb == "remove":
            raise forbidden(f"Attribute '{name}' cannot be removed.")
        if name in ("container_format", "disk_format") and row["status"] != "queued":
            raise forbidden(f"Attribute '{name}' is fixed once there is data.")
        row[name] = properties.base_value(caller(), name, change.value)
    elif change.verb == "remove":
        if name not in custom:
            raise conflict(f"Property '{name}' does not exist.")
        del custom[name]
    else:
        if change.verb == "replace" and name not in custom:
            raise conflict(f"Property '{name}' does not exist.")
        custom[name] = properties.custom_value(name, change.value)


@blueprint.delete("/v2/images/<ident>")
def delete_image(ident: str) -> Response:
    """The row is marked first and removed last, so that a file can always be found again.

    During an upload it is only marked: the upload notices at its end and clears up.
    """
    caller()

    def mark(db: sqlite3.Connection) -> bool:
        row = changeable(db, ident)
        if row["protected"]:
            raise forbidden(f"Image {ident} is protected and cannot be deleted.")
        store.update(db, "images", {"status": "deleted", "upload": None}, id=ident)
        return bool(row["status"] == "saving")

    uploading = write(mark)
    if not uploading:
        data.discard(cloud().image, cloud().image_files, ident)
    return web.empty()


@blueprint.post("/v2/images/<ident>/actions/<any(deactivate, reactivate):action>")
def activation(ident: str, action: str) -> Response:
    caller()
    before, after = ("active", "deactivated") if action == "deactivate" else ("deactivated", "active")

    def work(db: sqlite3.Connection) -> None:
        row = changeable(db, ident)
        changed = store.update(
            db, "images", {"status": after, "updated_at": clock.now()}, id=ident, status=before
        )
        if not changed and row["status"] != after:
            raise forbidden(f"An image in status {row['status']} cannot be {action}d.")

    write(work)
    return web.empty()


@blueprint.route("/v2/images/<ident>/tags/<tag>", methods=["PUT", "DELETE"])
def one_tag(ident: str, tag: str) -> Response:
    caller()
    if len(tag) > 255:
        raise bad("A tag may have 255 characters.")

    def work(db: sqlite3.Connection) -> None:
        changeable(db, ident)
        if request.method == "PUT":
            store.insert(db, "image_tags", {"image_id": ident, "value": tag}, ignore=True)
        elif not store.delete(db, "image_tags", image_id=ident, value=tag):
            raise Fault(404, f"Image {ident} has no tag {tag}.")
        store.update(db, "images", {"updated_at": clock.now()}, id=ident)

    write(work)
    return web.empty()
