"""Versions of Image, and what little it tells about stores and imports."""

from typing import Any

from flask import Response

from protonova.companions import web
from protonova.companions.caller import caller
from protonova.companions.cloud import cloud
from protonova.companions.image.routes import blueprint

_MINORS = (17, 16, 15, 13, 12, 11, 10, 9, 7, 6, 5, 4, 3, 2, 1, 0)


def _versions() -> dict[str, Any]:
    href = f"{cloud().settings.image_url}/v2/"
    entries = [
        {
            "id": f"v2.{minor}",
            "status": "CURRENT" if minor == _MINORS[0] else "SUPPORTED",
            "links": [{"rel": "self", "href": href}],
        }
        for minor in _MINORS
    ]
    return {"versions": entries}


@blueprint.get("/", strict_slashes=False)
def versions() -> Response:
    return web.answer(_versions(), 300)


@blueprint.get("/versions")
@blueprint.get("/v2/", strict_slashes=False)
def current() -> Response:
    return web.answer(_versions())


@blueprint.get("/v2/info/import")
def import_info() -> Response:
    caller()
    methods = {"description": "Import methods available.", "type": "array", "value": []}
    return web.answer({"import-methods": methods})


@blueprint.get("/v2/info/stores")
def stores_info() -> Response:
    caller()
    return web.answer({"stores": [{"id": "files", "description": "Files on one machine", "default": "true"}]})


@blueprint.get("/v2/info/usage")
def usage_info() -> Response:
    caller()
    return web.answer({"usage": {}})
