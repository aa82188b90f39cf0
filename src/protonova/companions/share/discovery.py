"""Versions of Share, its one type and its zone."""

from typing import Any

from flask import Response

from protonova.companions import web
from protonova.companions.caller import caller
from protonova.companions.cloud import cloud
from protonova.companions.fault import Fault
from protonova.companions.share import microversion
from protonova.companions.share.routes import blueprint, link, route

TYPE_ID = "0b8c4a53-5b52-4a39-9d5a-3d6b6f0d6e51"
TYPE = "default"


def _versions() -> dict[str, Any]:
    return {
        "versions": [
            {
                "id": "v2.0",
                "status": "CURRENT",
                "version": microversion.text(microversion.MOST),
                "min_version": microversion.text(microversion.LEAST),
                "updated": "2023-03-01T00:00:00Z",
                "links": [{"rel": "self", "href": link("")}],
                "media-types": [
                    {"base": "application/json", "type": "application/vnd.openstack.share+json;version=1"}
                ],
            }
        ]
    }


@blueprint.get("/", strict_slashes=False)
def versions() -> Response:
    return web.answer(_versions(), 300)


@blueprint.get("/v2/", strict_slashes=False)
def version() -> Response:
    return web.answer(_versions())


@route("/availability-zones")
def list_zones() -> Response:
    caller()
    zone = {"id": TYPE_ID, "name": cloud().settings.availability_zone, "created_at": None, "updated_at": None}
    return web.answer({"availability_zones": [zone]})


def _type() -> dict[str, Any]:
    specs = {"driver_handles_share_servers": "False"}
    return {
        "id": TYPE_ID,
        "name": TYPE,
        "description": "Directories on one machine",
        "is_default": True,
        "share_type_access:is_public": True,
        "required_extra_specs": specs,
        "extra_specs": specs,
    }


@route("/types")
def list_types() -> Response:
    caller()
    return web.answer({"share_types": [_type()], "volume_types": [_type()]})


@route("/types/<ident>")
def show_type(ident: str) -> Response:
    caller()
    if ident not in (TYPE, TYPE_ID):
        raise Fault(404, f"Share type {ident} could not be found.")
    return web.answer({"share_type": _type(), "volume_type": _type()})
