"""JSON schemas of what Image shows, for clients that read them."""

from typing import Any

from flask import Response

from protonova.companions import web
from protonova.companions.caller import caller
from protonova.companions.fault import missing
from protonova.companions.image import properties
from protonova.companions.image.routes import blueprint

_LINKS = [
    {"rel": "self", "href": "{self}"},
    {"rel": "enclosure", "href": "{file}"},
    {"rel": "describedby", "href": "{schema}"},
]


def _maybe(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": ["null", kind], **more}


def _fixed(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "readOnly": True}


_UUID = r"^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
_TEXT = {"type": "string"}
_IMAGE: dict[str, Any] = {
    "id": {"type": "string", "pattern": _UUID},
    "name": _maybe("string", maxLength=255),
    "status": _fixed(
        {
            "type": "string",
            "enum": ["queued", "saving", "active", "deactivated", "deleted", "killed", "importing"],
        }
    ),
    "visibility": {"type": "string", "enum": list(properties.VISIBILITIES)},
    "protected": {"type": "boolean"},
    "os_hidden": {"type": "boolean"},
    "checksum": _fixed(_maybe("string", maxLength=32)),
    "os_hash_algo": _fixed(_maybe("string", maxLength=64)),
    "os_hash_value": _fixed(_maybe("string", maxLength=128)),
    "owner": _maybe("string", maxLength=255),
    "size": _fixed(_maybe("integer")),
    "virtual_size": _fixed(_maybe("integer")),
    "container_format": _maybe("string", enum=[None, *properties.CONTAINER_FORMATS]),
    "disk_format": _maybe("string", enum=[None, *properties.DISK_FORMATS]),
    "created_at": _fixed(_TEXT),
    "updated_at": _fixed(_TEXT),
    "tags": {"type": "array", "items": {"type": "string", "maxLength": 255}},
    "self": _fixed(_TEXT),
    "file": _fixed(_TEXT),
    "schema": _fixed(_TEXT),
    "min_ram": {"type": "integer"},
    "min_disk": {"type": "integer"},
}
_MEMBER: dict[str, Any] = {
    "image_id": {"type": "string", "pattern": _UUID},
    "member_id": _TEXT,
    "status": {"type": "string", "enum": ["pending", "accepted", "rejected"]},
    "created_at": _TEXT,
    "updated_at": _TEXT,
    "schema": _fixed(_TEXT),
}


def _collection(name: str, item: dict[str, Any], links: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "name": name,
        "properties": {
            name: {"type": "array", "items": item},
            "first": _TEXT,
            "next": _TEXT,
            "schema": _TEXT,
        },
        "links": [*links, {"rel": "describedby", "href": "{schema}"}],
    }


_IMAGE_SCHEMA = {"name": "image", "properties": _IMAGE, "additionalProperties": _TEXT, "links": _LINKS}
_MEMBER_SCHEMA = {"name": "member", "properties": _MEMBER}
_PAGE_LINKS = [{"rel": "first", "href": "{first}"}, {"rel": "next", "href": "{next}"}]
_SCHEMAS = {
    "image": _IMAGE_SCHEMA,
    "images": _collection("images", _IMAGE_SCHEMA, _PAGE_LINKS),
    "member": _MEMBER_SCHEMA,
    "members": _collection("members", _MEMBER_SCHEMA, []),
}


@blueprint.get("/v2/schemas/<name>")
def show_schema(name: str) -> Response:
    caller()
    if name not in _SCHEMAS:
        raise missing("Schema", name)
    return web.answer(_SCHEMAS[name])
