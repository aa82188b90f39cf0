"""Metadata of servers: key and value texts their owner puts there."""

from __future__ import annotations

from typing import Any

from protonova.api.v1 import server_pb2 as api
from protonova.gateway.compute.servers import find
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import METADATA, METADATA_KEY, METADATA_SHOWN, Field, Map, Obj, text

PATH = "/servers/{server_id}/metadata"
RULES = "os_compute_api:server-metadata"

metadata = Resource("servers.metadata")

ALL = Obj(Field("metadata", METADATA, required=True))
ALL_SHOWN = Obj(Field("metadata", METADATA_SHOWN, required=True))
ONE = Obj(Field("meta", Map(METADATA_KEY, text(most=255), minProperties=1, maxProperties=1), required=True))


def _change(request: Request, items: dict[str, str], replace: bool) -> dict[str, str]:
    wanted = api.UpdateServerMetadataRequest(id=request.args["server_id"], metadata=items, replace=replace)
    return dict(request.services.servers.UpdateServerMetadata(wanted).metadata)


def _one(request: Request) -> str:
    key = request.args["key"]
    items = find(request).metadata
    if key not in items:
        raise Fault(404, f"Server {request.args['server_id']} has no metadata item '{key}'.")
    return items[key]


@metadata.get(PATH, "index", policy=f"{RULES}:index", answer=ALL_SHOWN)
def index(request: Request) -> dict[str, Any]:
    """List a server's metadata."""
    return {"metadata": dict(find(request).metadata)}


@metadata.post(PATH, "create", policy=f"{RULES}:create", body=ALL, answer=ALL_SHOWN)
def create(request: Request) -> dict[str, Any]:
    """Add metadata items; those of the same key are overwritten."""
    return {"metadata": _change(request, request.body["metadata"], replace=False)}


@metadata.put(PATH, "update_all", policy=f"{RULES}:update_all", body=ALL, answer=ALL_SHOWN)
def update_all(request: Request) -> dict[str, Any]:
    """Replace a server's metadata."""
    return {"metadata": _change(request, request.body["metadata"], replace=True)}


@metadata.get(PATH + "/{key}", "show", policy=f"{RULES}:show", answer=ONE)
def show(request: Request) -> dict[str, Any]:
    """Show one metadata item."""
    return {"meta": {request.args["key"]: _one(request)}}


@metadata.put(PATH + "/{key}", "update", policy=f"{RULES}:update", body=ONE, answer=ONE)
def update(request: Request) -> dict[str, Any]:
    """Set one metadata item."""
    key, meta = request.args["key"], request.body["meta"]
    if key not in meta:
        raise Fault(400, f"meta does not hold '{key}', the key the path names.")
    return {"meta": {key: _change(request, meta, replace=False)[key]}}


@metadata.delete(PATH + "/{key}", "delete", policy=f"{RULES}:delete", status=204)
def delete(request: Request) -> None:
    """Remove one metadata item."""
    request.services.servers.DeleteServerMetadataItem(
        api.DeleteServerMetadataItemRequest(id=request.args["server_id"], key=request.args["key"])
    )
