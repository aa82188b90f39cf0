"""Images made of servers: snapshots and backups.

History: until 2.38 the quota of metadata items counts for the image's; until 2.44 a Location header names the
image, from 2.45 on the body does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from protonova.api.v1 import quota_pb2, server_image_pb2
from protonova.gateway.compute.server_actions import PATH
from protonova.gateway.compute.servers import find
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request, Response
from protonova.gateway.schema import METADATA, NAME, NON_NEGATIVE, STRING, UUID, Field, Obj
from protonova.gateway.versions import Window

images = Resource("servers")

LIMITED = Window.of(until="2.38")
IN_BODY = Window.parse("2.45-")
CREATE = Obj(
    Field("createImage", Obj(Field("name", NAME, required=True), Field("metadata", METADATA)), required=True)
)
BACK_UP = Obj(
    Field(
        "createBackup",
        Obj(
            Field("name", NAME, required=True),
            Field("backup_type", STRING, required=True),
            Field("rotation", NON_NEGATIVE, required=True),
            Field("metadata", METADATA),
        ),
        required=True,
    )
)
ANSWER = Obj(Field("image_id", UUID, required=True))
Handler = Callable[[Request], Response]


def _told_by_header_or_body(action: str, policy: str, body: Obj) -> Callable[[Handler], Handler]:
    def declare(handler: Handler) -> Handler:
        rest: dict[str, Any] = {"policy": policy, "body": body, "status": 202}
        images.action(PATH, action, until="2.44", **rest)(handler)
        return images.action(PATH, action, since="2.45", answer=ANSWER, **rest)(handler)

    return declare


@_told_by_header_or_body("createImage", "os_compute_api:servers:create_image", CREATE)
def create_image(request: Request) -> Response:
    """Make an image of a server."""
    server = find(request)
    if not server.image.id:
        request.enforce(
            "os_compute_api:servers:create_image:allow_volume_backed",
            {"project_id": server.project_id, "user_id": server.user_id},
        )
    body = request.body["createImage"]
    made = request.services.server_images.CreateServerImage(
        server_image_pb2.CreateServerImageRequest(
            id=server.id,
            name=body["name"],
            metadata=_metadata(request, body),
            user_token=request.environ.get("HTTP_X_AUTH_TOKEN", ""),
        )
    )
    return _told(request, made.image_id)


@_told_by_header_or_body("createBackup", "os_compute_api:os-create-backup", BACK_UP)
def create_backup(request: Request) -> Response:
    """Make an image of a server and delete its oldest ones of the same kind."""
    body = request.body["createBackup"]
    rotation = int(body["rotation"])
    made = request.services.server_images.CreateServerBackup(
        server_image_pb2.CreateServerBackupRequest(
            id=request.args["server_id"],
            name=body["name"],
            metadata=_metadata(request, body),
            backup_type=body["backup_type"],
            rotation=min(rotation, _MOST),
        )
    )
    # Of what is not kept there is no address.
    return _told(request, made.image_id, located=rotation > 0)


_MOST = 2**31 - 1


def _metadata(request: Request, body: Mapping[str, Any]) -> dict[str, str]:
    metadata: dict[str, str] = body.get("metadata", {})
    if metadata and request.version in LIMITED:
        answer = request.services.quotas.GetQuota(quota_pb2.GetQuotaRequest(project_id=request.project_id))
        limit = next(line.limit for line in answer.lines if line.resource == "metadata_items")
        if 0 <= limit < len(metadata):
            raise Fault(403, "Maximum number of metadata items exceeds quota.")
    return metadata


def _told(request: Request, image_id: str, *, located: bool = True) -> Response:
    if request.version in IN_BODY:
        return Response({"image_id": image_id})
    (link,) = request.links.bookmark("images", image_id)
    return Response(headers=(("Location", link["href"]),) if located else ())
