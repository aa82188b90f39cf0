"""The administrator's password of a server: set by its owner, or left by the guest for its owner to read.

What a guest leaves is encrypted with the public half of the server's key pair; nobody here can read it.
"""

from __future__ import annotations

from typing import Any

from protonova.api.v1 import server_pb2 as api
from protonova.common.v1 import server_pb2 as pb
from protonova.gateway.compute.server_actions import PATH
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import STRING, Field, Obj

RULES = "os_compute_api:os-server-password"
LEFT = "/servers/{server_id}/os-server-password"

password = Resource("servers.password")


@password.action(
    PATH,
    "changePassword",
    policy="os_compute_api:os-admin-password",
    body=Obj(Field("changePassword", Obj(Field("adminPass", STRING, required=True)), required=True)),
    status=202,
    also=(501,),
)
def change(request: Request) -> None:
    """Set the administrator's password inside a server."""
    wanted = api.ChangeServerPasswordRequest(
        id=request.args["server_id"], admin_password=request.body["changePassword"]["adminPass"]
    )
    request.services.servers.ChangeServerPassword(wanted)


@password.get(LEFT, "index", policy=f"{RULES}:show", answer=Obj(Field("password", STRING, required=True)))
def index(request: Request) -> dict[str, Any]:
    """Show the encrypted password a server's guest has left."""
    # The little that is known of a server whose cell is silent says nothing of it.
    asked = api.GetServerRequest(id=request.args["server_id"])
    return {"password": request.services.servers.GetServer(asked).server.encrypted_password}


@password.delete(LEFT, "clear", policy=f"{RULES}:clear", status=204)
def clear(request: Request) -> None:
    """Forget the encrypted password a server's guest has left."""
    wanted = api.UpdateServerRequest(server=pb.Server(id=request.args["server_id"]))
    wanted.update_mask.paths.append("encrypted_password")
    request.services.servers.UpdateServer(wanted)
