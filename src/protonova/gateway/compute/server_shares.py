"""Shares of the share service that servers have, from 2.97 on."""

from __future__ import annotations

from typing import Any

from protonova.api.v1 import server_device_pb2 as api
from protonova.api.v1 import server_pb2
from protonova.common.v1 import server_pb2 as pb
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import ABSENT, KEYSTONE_ID, STRING, UUID, Arr, Field, Obj, View, one_of
from protonova.gateway.validation import Query

PATH = "/servers/{server_id}/shares"
ONE_PATH = PATH + "/{share_id}"
RULES = "os_compute_api:os-server-shares"
SINCE = "2.97"
NOTHING = Query(strict=SINCE)

shares = Resource("servers.shares")

_STATUSES = {
    pb.SHARE_STATUS_ATTACHING: "attaching",
    pb.SHARE_STATUS_INACTIVE: "inactive",
    pb.SHARE_STATUS_ACTIVE: "active",
    pb.SHARE_STATUS_DETACHING: "detaching",
    pb.SHARE_STATUS_ERROR: "error",
}


def _to_admins(field: str) -> Any:
    """How things lie inside the cloud is not its users' affair."""
    return lambda share, request: getattr(share, field) if request.context.is_admin else ABSENT


SHARE = View(
    Field("uuid", UUID, _to_admins("id")),
    Field("share_id", UUID, lambda s, _: s.share_id, required=True),
    Field(
        "status", one_of(*_STATUSES.values()), lambda s, _: _STATUSES.get(s.status, "error"), required=True
    ),
    Field("tag", KEYSTONE_ID, lambda s, _: s.tag, required=True),
    Field("export_location", STRING, _to_admins("export_location")),
)
ATTACH = Obj(
    Field("share", Obj(Field("share_id", UUID, required=True), Field("tag", KEYSTONE_ID)), required=True)
)
ONE = Obj(Field("share", SHARE, required=True))


def _server(request: Request) -> pb.Server:
    """The whole server: the little that is known of one whose cell is silent says nothing of its shares."""
    asked = server_pb2.GetServerRequest(id=request.args["server_id"])
    return request.services.servers.GetServer(asked).server


@shares.get(
    PATH,
    "index",
    since=SINCE,
    policy=f"{RULES}:index",
    query=NOTHING,
    answer=Obj(Field("shares", Arr(SHARE), required=True)),
)
def index(request: Request) -> dict[str, Any]:
    """List the shares of a server."""
    return {"shares": request.show_all(SHARE, _server(request).shares)}


@shares.get(ONE_PATH, "show", since=SINCE, policy=f"{RULES}:show", query=NOTHING, answer=ONE)
def show(request: Request) -> dict[str, Any]:
    """Show a share of a server."""
    server, share_id = _server(request), request.args["share_id"]
    for share in server.shares:
        if share.share_id == share_id:
            return {"share": request.show(SHARE, share)}
    raise Fault(404, f"Share {share_id} is not attached to server {server.id}.")


@shares.post(PATH, "create", since=SINCE, policy=f"{RULES}:create", body=ATTACH, status=201, answer=ONE)
def attach(request: Request) -> dict[str, Any]:
    """Attach a share to a server that is off."""
    body = request.body["share"]
    asked = api.AttachShareRequest(
        server_id=request.args["server_id"], share_id=body["share_id"], tag=body.get("tag", "")
    )
    return {"share": request.show(SHARE, request.services.devices.AttachShare(asked).share)}


@shares.delete(ONE_PATH, "delete", since=SINCE, policy=f"{RULES}:delete", status=200)
def detach(request: Request) -> None:
    """Detach a share from a server that is off."""
    request.services.devices.DetachShare(
        api.DetachShareRequest(server_id=request.args["server_id"], share_id=request.args["share_id"])
    )
