"""Servers that are booted from another image, to mend what is on their own disks.

History: 2.87 servers that boot from a volume can be rescued, with an image that leaves their disks in their places.
"""

from __future__ import annotations

from typing import Any

from protonova.api.v1 import server_pb2 as api
from protonova.gateway.compute.server_actions import PATH
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import ANY, NULL, STRING, UUID, Either, Field, Obj
from protonova.gateway.versions import Window

rescues = Resource("servers")

VOLUME_BACKED = Window.parse("2.87-")
_RESCUE = Obj(Field("adminPass", STRING), Field("rescue_image_ref", UUID))


@rescues.action(
    PATH,
    "rescue",
    policy="os_compute_api:os-rescue",
    body=Obj(Field("rescue", Either(NULL, _RESCUE), required=True)),
    answer=Obj(Field("adminPass", STRING)),
)
def rescue(request: Request) -> dict[str, Any]:
    """Boot a server from a rescue image."""
    body = request.body["rescue"] or {}
    answer = request.services.servers.RescueServer(
        api.RescueServerRequest(
            id=request.args["server_id"],
            image_id=body.get("rescue_image_ref", ""),
            admin_password=body.get("adminPass", ""),
            allow_volume_backed=request.version in VOLUME_BACKED,
        )
    )
    return {"adminPass": answer.admin_password} if answer.admin_password else {}


@rescues.action(
    PATH,
    "unrescue",
    policy="os_compute_api:os-unrescue",
    body=Obj(Field("unrescue", ANY, required=True)),
    status=202,
)
def unrescue(request: Request) -> None:
    """Boot a rescued server from its own disk again."""
    request.services.servers.UnrescueServer(api.UnrescueServerRequest(id=request.args["server_id"]))
