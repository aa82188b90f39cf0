"""Shelving: a server is kept as an image, and need not be on a host meanwhile.

History: 2.77 a zone can be named for a server that has left its host; 2.91 a host too, and null takes the zone that
was named away.
"""

from __future__ import annotations

from protonova.api.v1 import server_image_pb2 as api
from protonova.gateway.compute.server_actions import PATH
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import ANY, NAME, NULL, STRING, Either, Field, Obj, Plain

RULES = "os_compute_api:os-shelve"

shelve = Resource("servers")

_ZONE = Obj(Field("availability_zone", NAME, required=True))
_PLACE = Obj(
    Field("availability_zone", Plain(type=["string", "null"])),
    Field("host", STRING),
)
UNSHELVE = Obj(
    Field("unshelve", ANY, until="2.76", required=True),
    Field("unshelve", Either(NULL, _ZONE), since="2.77", until="2.90", required=True),
    Field("unshelve", Either(NULL, _PLACE), since="2.91", required=True),
)


@shelve.action(
    PATH, "shelve", policy=f"{RULES}:shelve", body=Obj(Field("shelve", ANY, required=True)), status=202
)
def shelve_server(request: Request) -> None:
    """Stop a server and keep it as an image."""
    request.services.server_images.ShelveServer(api.ShelveServerRequest(id=request.args["server_id"]))


@shelve.action(
    PATH,
    "shelveOffload",
    policy=f"{RULES}:shelve_offload",
    body=Obj(Field("shelveOffload", ANY, required=True)),
    status=202,
)
def offload_server(request: Request) -> None:
    """Have a shelved server leave its host."""
    request.services.server_images.OffloadServer(api.OffloadServerRequest(id=request.args["server_id"]))


@shelve.action(PATH, "unshelve", policy=f"{RULES}:unshelve", body=UNSHELVE, status=202)
def unshelve_server(request: Request) -> None:
    """Start a shelved server."""
    wanted = api.UnshelveServerRequest(id=request.args["server_id"])
    body = request.body["unshelve"]
    if isinstance(body, dict) and request.version >= _PLACES:
        if host := body.get("host"):
            request.enforce(f"{RULES}:unshelve_to_host")
            wanted.host = host
        if "availability_zone" in body:
            wanted.availability_zone = body["availability_zone"] or ""
    request.services.server_images.UnshelveServer(wanted)


_PLACES = 77
