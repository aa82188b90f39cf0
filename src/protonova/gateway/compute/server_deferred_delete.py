"""Deletions with a way back: a server that was deleted softly is restored, or deleted for good."""

from __future__ import annotations

from protonova.api.v1 import server_pb2 as api
from protonova.gateway.compute.server_actions import PATH
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import ANY, Field, Obj

RULES = "os_compute_api:os-deferred-delete"

deferred = Resource("servers")


@deferred.action(
    PATH, "restore", policy=f"{RULES}:restore", body=Obj(Field("restore", ANY, required=True)), status=202
)
def restore(request: Request) -> None:
    """Bring back a server that was deleted softly."""
    request.services.servers.RestoreServer(api.RestoreServerRequest(id=request.args["server_id"]))


@deferred.action(
    PATH,
    "forceDelete",
    policy=f"{RULES}:force",
    body=Obj(Field("forceDelete", ANY, required=True)),
    status=202,
)
def force_delete(request: Request) -> None:
    """Delete a server at once."""
    request.services.servers.DeleteServer(api.DeleteServerRequest(id=request.args["server_id"], force=True))
