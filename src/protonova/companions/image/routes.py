"""The blueprint of Image and which images a caller may see and change."""

import sqlite3
from collections.abc import Callable
from typing import Any

import orjson
from flask import Blueprint

from protonova.companions import clock, store
from protonova.companions.caller import Caller, caller
from protonova.companions.cloud import cloud
from protonova.companions.fault import forbidden, missing

blueprint = Blueprint("image", __name__)

BASE = (
    "id",
    "name",
    "status",
    "visibility",
    "owner",
    "protected",
    "os_hidden",
    "container_format",
    "disk_format",
    "min_disk",
    "min_ram",
    "size",
    "virtual_size",
    "checksum",
    "os_hash_algo",
    "os_hash_value",
)


def read(work: Callable[..., Any]) -> Any:
    return cloud().image.read(work)


def write(work: Callable[..., Any]) -> Any:
    return cloud().image.write(work)


def shown(db: sqlite3.Connection, row: store.Row) -> dict[str, Any]:
    tags = db.execute("SELECT value FROM image_tags WHERE image_id = ? ORDER BY value", (row["id"],))
    path = f"/v2/images/{row['id']}"
    return {
        **orjson.loads(row["properties"]),
        **{name: row[name] for name in BASE},
        "protected": bool(row["protected"]),
        "os_hidden": bool(row["os_hidden"]),
        "tags": [tag["value"] for tag in tags],
        "created_at": clock.zulu(row["created_at"]),
        "updated_at": clock.zulu(row["updated_at"]),
        "self": path,
        "file": f"{path}/file",
        "schema": "/v2/schemas/image",
    }


def sees(db: sqlite3.Connection, who: Caller, row: store.Row) -> bool:
    if who.is_privileged or row["visibility"] in ("public", "community") or who.owns(row["owner"]):
        return True
    member = store.find(db, "image_members", image_id=row["id"], member_id=who.project_id)
    return row["visibility"] == "shared" and member is not None


def visible(db: sqlite3.Connection, ident: str) -> store.Row:
    row = store.find(db, "images", id=ident)
    if row is None or row["status"] == "deleted" or not sees(db, caller(), row):
        raise missing("Image", ident)
    return row


def changeable(db: sqlite3.Connection, ident: str) -> store.Row:
    row = visible(db, ident)
    if not caller().owns(row["owner"]):
        raise forbidden(f"Image {ident} belongs to another project.")
    caller().require_member()
    return row
