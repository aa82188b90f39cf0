"""Servers that are made anew of an image, where they are.

History: 2.19 description; 2.54 key pair; 2.57 user data, no personality; 2.63 trusted certificates; 2.90 hostname,
2.94 FQDN as hostname; 2.93 servers that boot from a volume get another image. What is answered stands in
``server_view``.
"""

from __future__ import annotations

import base64
from typing import Any

from protonova.api.v1 import server_pb2 as api
from protonova.common.v1 import server_pb2 as pb
from protonova.gateway.compute.server_actions import PATH
from protonova.gateway.compute.server_create import (
    BASE64,
    CERTIFICATES,
    PERSONALITY,
    image_id_of,
)
from protonova.gateway.compute.server_view import REBUILT
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request, Response
from protonova.gateway.schema import (
    BOOLEAN,
    DESCRIPTION,
    DISK_CONFIG,
    FQDN,
    HOSTNAME,
    IPV4,
    IPV6,
    METADATA,
    NAME,
    STRING,
    Field,
    Obj,
    View,
    text,
    truth,
)
from protonova.gateway.validation import canonical_address
from protonova.gateway.versions import Window

TRUSTED_CERTIFICATES = "os_compute_api:servers:rebuild:trusted_certs"
VOLUME_BACKED = Window.parse("2.93-")
IMAGE_REF = text(1)

rebuilds = Resource("servers")

REBUILD = Obj(
    Field("imageRef", IMAGE_REF, required=True),
    Field("name", NAME),
    Field("adminPass", STRING),
    Field("metadata", METADATA),
    Field("preserve_ephemeral", BOOLEAN),
    Field("OS-DCF:diskConfig", DISK_CONFIG),
    Field("accessIPv4", IPV4),
    Field("accessIPv6", IPV6),
    Field("personality", PERSONALITY, until="2.56"),
    Field("description", DESCRIPTION, since="2.19"),
    Field("key_name", NAME.or_null(), since="2.54"),
    Field("user_data", BASE64.or_null(), since="2.57"),
    Field("trusted_image_certificates", CERTIFICATES, since="2.63"),
    Field("hostname", HOSTNAME, since="2.90", until="2.93"),
    Field("hostname", FQDN, since="2.94"),
)
ANSWER = View(*REBUILT.fields, Field("adminPass", STRING))
# The key in the body, and the field of a server.
_PLAIN = (
    ("name", "name"),
    ("accessIPv4", "access_ip_v4"),
    ("description", "description"),
    ("key_name", "key_name"),
    ("user_data", "user_data"),
    ("hostname", "hostname"),
)


@rebuilds.action(
    PATH,
    "rebuild",
    policy="os_compute_api:servers:rebuild",
    body=Obj(Field("rebuild", REBUILD, required=True)),
    answer=Obj(Field("server", ANSWER, required=True)),
    status=202,
)
def rebuild(request: Request) -> Response:
    """Make a server anew of an image."""
    body = request.body["rebuild"]
    server, mask = _changes(request, body)
    wanted = api.RebuildServerRequest(
        id=request.args["server_id"],
        image_id=image_id_of(request, body["imageRef"], "rebuild.imageRef"),
        admin_password=body.get("adminPass", ""),
        preserve_ephemeral=truth(body.get("preserve_ephemeral", False)),
        server=server,
        allow_volume_backed=request.version in VOLUME_BACKED,
    )
    wanted.update_mask.paths.extend(mask)
    for file in body.get("personality", ()):
        contents = base64.b64decode("".join(file.get("contents", "").split()))
        wanted.files.add(path=file.get("path", ""), contents=contents)
    answer = request.services.servers.RebuildServer(wanted)
    shown: dict[str, Any] = request.show(ANSWER, answer.server)
    if answer.admin_password:
        shown["adminPass"] = answer.admin_password
    location = request.links.pair("servers", answer.server.id)[0]["href"]
    return Response({"server": shown}, headers=(("Location", location),))


def _changes(request: Request, body: dict[str, Any]) -> tuple[pb.Server, list[str]]:
    """What else is to change of the server. A null takes away what there is."""
    server, mask = pb.Server(), []
    for key, field in _PLAIN:
        if key in body:
            mask.append(field)
            if body[key] is not None:
                setattr(server, field, body[key])
    if "accessIPv6" in body:
        mask.append("access_ip_v6")
        server.access_ip_v6 = canonical_address(body["accessIPv6"])
    if "OS-DCF:diskConfig" in body:
        mask.append("auto_disk_config")
        server.auto_disk_config = body["OS-DCF:diskConfig"] == "AUTO"
    if "metadata" in body:
        mask.append("metadata")
        server.metadata.update(body["metadata"])
    if "trusted_image_certificates" in body:
        mask.append("trusted_image_certificates")
        if body["trusted_image_certificates"]:
            request.enforce(TRUSTED_CERTIFICATES)
            server.trusted_image_certificates.extend(body["trusted_image_certificates"])
    return server, mask
