"""Which versions of Identity are served: one."""

from typing import Any

from flask import Response

from protonova.companions import web
from protonova.companions.identity.routes import blueprint, link


def _version() -> dict[str, Any]:
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": link("")}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }


@blueprint.get("/", strict_slashes=False)
def versions() -> Response:
    return web.answer({"versions": {"values": [_version()]}}, 300, {"Location": link("")})


@blueprint.get("/v3/", strict_slashes=False)
def version() -> Response:
    return web.answer({"version": _version()})
