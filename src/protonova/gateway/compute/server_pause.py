"""Servers that stand still: paused in memory, or suspended to their host's disk."""

from __future__ import annotations

from protonova.api.v1 import server_pb2 as api
from protonova.gateway.compute.server_actions import PATH
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import ANY, Field, Obj

PAUSE = "os_compute_api:os-pause-server"
SUSPEND = "os_compute_api:os-suspend-server"

standstill = Resource("servers")


def _body(action: str) -> Obj:
    return Obj(Field(action, ANY, required=True))


@standstill.action(PATH, "pause", policy=f"{PAUSE}:pause", body=_body("pause"), status=202)
def pause(request: Request) -> None:
    """Pause a server."""
    request.services.servers.PauseServer(api.PauseServerRequest(id=request.args["server_id"]))


@standstill.action(PATH, "unpause", policy=f"{PAUSE}:unpause", body=_body("unpause"), status=202)
def unpause(request: Request) -> None:
    """Let a paused server go on."""
    request.services.servers.UnpauseServer(api.UnpauseServerRequest(id=request.args["server_id"]))


@standstill.action(PATH, "suspend", policy=f"{SUSPEND}:suspend", body=_body("suspend"), status=202)
def suspend(request: Request) -> None:
    """Suspend a server."""
    request.services.servers.SuspendServer(api.SuspendServerRequest(id=request.args["server_id"]))


@standstill.action(PATH, "resume", policy=f"{SUSPEND}:resume", body=_body("resume"), status=202)
def resume(request: Request) -> None:
    """Let a suspended server go on."""
    request.services.servers.ResumeServer(api.ResumeServerRequest(id=request.args["server_id"]))
