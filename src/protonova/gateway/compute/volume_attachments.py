"""Volumes that are attached to servers.

History: 2.20 also to shelved servers; 2.49 tags; 2.60 volumes for several servers; 2.70 tags are shown; 2.79
delete_on_termination; 2.85 it can be changed; 2.89 attachment_id and bdm_uuid instead of an id that was the
volume's; 2.101 an attach answers before it is done, without a body.
"""

from __future__ import annotations

from typing import Any

from protonova.api.v1 import server_device_pb2 as api
from protonova.api.v1 import server_pb2
from protonova.common.v1 import server_pb2 as pb
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import (
    BOOLEAN,
    NON_NEGATIVE,
    STRING_OR_NULL,
    TAG,
    TRUE_FALSE,
    UUID,
    Arr,
    Field,
    Obj,
    Plain,
    View,
    truth,
)
from protonova.gateway.validation import Query
from protonova.gateway.versions import Window

PATH = "/servers/{server_id}/os-volume_attachments"
ONE_PATH = PATH + "/{volume_id}"
RULES = "os_compute_api:os-volumes-attachments"

TO_SHELVED = Window.parse("2.20-")
MULTIATTACH = Window.parse("2.60-")
CHANGEABLE = Window.parse("2.85-")
BY_ATTACHMENT = Window.parse("2.89-")
SILENT = Window.parse("2.101-")

volume_attachments = Resource("servers.os-volume_attachments")

_DEVICE = Plain(type=["string", "null"], pattern=r"(^/dev/x{0,1}[a-z]{0,1}d{0,1})([a-z]+)[0-9]*$")


def _view(*, numbered_until: str, also: tuple[Field, ...] = ()) -> View:
    """`numbered_until`: the last version that shows an id, which is the volume's."""
    return View(
        Field("id", UUID, lambda d, _: d.volume_id, until=numbered_until, required=True),
        Field("volumeId", UUID, lambda d, _: d.volume_id, required=True),
        Field("serverId", UUID, lambda _, q: q.args["server_id"], required=True),
        Field("device", STRING_OR_NULL, lambda d, _: d.device_name or None),
        Field("tag", STRING_OR_NULL, lambda d, _: d.tag or None, since="2.70", required=True),
        Field(
            "delete_on_termination",
            TRUE_FALSE,
            lambda d, _: d.delete_on_termination,
            since="2.79",
            required=True,
        ),
        *also,
    )


SHOWN = _view(
    numbered_until="2.88",
    also=(
        Field("attachment_id", UUID, lambda d, _: d.attachment_id, since="2.89", required=True),
        Field("bdm_uuid", UUID, lambda d, _: d.id, since="2.89", required=True),
    ),
)
# The change of 2.89 never came to this one.
ATTACHED = _view(numbered_until="2.100")

ATTACH = Obj(
    Field(
        "volumeAttachment",
        Obj(
            Field("volumeId", UUID, required=True),
            Field("device", _DEVICE),
            Field("tag", TAG, since="2.49"),
            Field("delete_on_termination", BOOLEAN, since="2.79"),
        ),
        required=True,
    )
)
UPDATE = Obj(
    Field(
        "volumeAttachment",
        Obj(
            Field("volumeId", UUID, required=True),
            Field("device", _DEVICE, since="2.85"),
            Field("tag", TAG, since="2.85"),
            Field("delete_on_termination", BOOLEAN, since="2.85"),
            Field("serverId", UUID, since="2.85"),
            Field("id", UUID, since="2.85"),
        ),
        required=True,
    )
)


def _server(request: Request) -> pb.Server:
    """The whole server: the little that is known of one whose cell is silent says nothing of its volumes."""
    asked = server_pb2.GetServerRequest(id=request.args["server_id"])
    return request.services.servers.GetServer(asked).server


def _attached(request: Request, server: pb.Server) -> list[pb.BlockDevice]:
    devices = [
        device
        for device in server.block_devices
        if device.destination == pb.BLOCK_DEVICE_DESTINATION_VOLUME and device.volume_id
    ]
    if request.version in BY_ATTACHMENT:
        return [device for device in devices if device.attachment_id]
    return devices


def _one(request: Request, server: pb.Server) -> pb.BlockDevice:
    volume_id = request.args["volume_id"]
    for device in _attached(request, server):
        if device.volume_id == volume_id:
            return device
    raise Fault(404, f"Volume {volume_id} is not attached to server {server.id}.")


@volume_attachments.get(
    PATH,
    "index",
    policy=f"{RULES}:index",
    query=Query(Field("limit", NON_NEGATIVE), Field("offset", NON_NEGATIVE), strict="2.75"),
    answer=Obj(Field("volumeAttachments", Arr(SHOWN), required=True)),
)
def index(request: Request) -> dict[str, Any]:
    """List the volumes that are attached to a server."""
    devices = _attached(request, _server(request))
    first = int(request.last("offset") or 0)
    most = request.settings.max_limit
    limit = min(int(request.last("limit", str(most)) or 0), most)
    return {"volumeAttachments": request.show_all(SHOWN, devices[first : first + limit])}


@volume_attachments.get(
    ONE_PATH,
    "show",
    policy=f"{RULES}:show",
    query=Query(),
    answer=Obj(Field("volumeAttachment", SHOWN, required=True)),
)
def show(request: Request) -> dict[str, Any]:
    """Show a volume that is attached to a server."""
    return {"volumeAttachment": request.show(SHOWN, _one(request, _server(request)))}


@volume_attachments.post(
    PATH,
    "create",
    policy=f"{RULES}:create",
    body=ATTACH,
    answer=Obj(Field("volumeAttachment", ATTACHED, required=True)),
    until="2.100",
)
def attach(request: Request) -> dict[str, Any]:
    """Attach a volume to a server."""
    return {"volumeAttachment": request.show(ATTACHED, _attach(request))}


@volume_attachments.post(
    PATH, "create_silently", policy=f"{RULES}:create", body=ATTACH, status=202, since="2.101"
)
def attach_silently(request: Request) -> None:
    """Attach a volume to a server."""
    _attach(request)


def _attach(request: Request) -> pb.BlockDevice:
    body = request.body["volumeAttachment"]
    asked = api.AttachVolumeRequest(
        server_id=request.args["server_id"],
        volume_id=body["volumeId"],
        device_name=body.get("device") or "",
        tag=body.get("tag", ""),
        delete_on_termination=truth(body.get("delete_on_termination", False)),
        allow_shelved=request.version in TO_SHELVED,
        allow_multiattach=request.version in MULTIATTACH,
    )
    return request.services.devices.AttachVolume(asked).device


@volume_attachments.put(ONE_PATH, "update", body=UPDATE, status=202)
def update(request: Request) -> None:
    """Change an attachment, or swap its volume for another one."""
    body = request.body["volumeAttachment"]
    server = _server(request)
    owner = {"project_id": server.project_id, "user_id": server.user_id}
    volume_id = request.args["volume_id"]
    swaps = request.version not in CHANGEABLE or body["volumeId"] != volume_id
    if swaps:
        request.enforce(f"{RULES}:swap", owner)
    if not swaps or "delete_on_termination" in body:
        request.enforce(f"{RULES}:update", owner)
    device = _one(request, server)
    _unchanged(request, body, device)
    if "delete_on_termination" in body:
        request.services.devices.UpdateVolumeAttachment(
            api.UpdateVolumeAttachmentRequest(
                server_id=server.id,
                volume_id=volume_id,
                delete_on_termination=truth(body["delete_on_termination"]),
            )
        )
    if swaps:
        request.services.devices.SwapVolume(
            api.SwapVolumeRequest(server_id=server.id, volume_id=volume_id, new_volume_id=body["volumeId"])
        )


def _unchanged(request: Request, body: dict[str, Any], device: pb.BlockDevice) -> None:
    """Everything that is given and cannot be changed must be as it is."""
    id_ = device.attachment_id if request.version in BY_ATTACHMENT else device.volume_id
    facts = {
        "id": (id_, device.volume_id),
        "serverId": (request.args["server_id"],),
        "device": (device.device_name,),
        "tag": (device.tag,),
    }
    for name, known in facts.items():
        if name in body and (body[name] or "") not in known:
            raise Fault(400, f"volumeAttachment.{name}: '{body[name]}' differs, and it cannot be changed.")


@volume_attachments.delete(ONE_PATH, "delete", policy=f"{RULES}:delete", status=202)
def detach(request: Request) -> None:
    """Detach a volume from a server."""
    request.services.devices.DetachVolume(
        api.DetachVolumeRequest(
            server_id=request.args["server_id"],
            volume_id=request.args["volume_id"],
            allow_shelved=request.version in TO_SHELVED,
        )
    )
