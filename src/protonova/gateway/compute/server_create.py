"""The body of a create, and the contract's request it becomes.

History: 2.19 description; 2.32 and 2.42 tags of networks and disks; 2.37 networks must be named, "none" or
"auto"; 2.52 tags; 2.57 no personality; 2.60 multi-attach volumes; 2.63 trusted certificates; 2.67 volume type;
2.72 ports with resource requests; 2.74 host; 2.90 hostname; 2.94 FQDN as hostname.
"""

from __future__ import annotations

import base64
import re
from typing import Any

import orjson

from protonova.api.v1 import server_pb2 as api
from protonova.common.v1 import server_pb2 as pb
from protonova.gateway.faults import Fault
from protonova.gateway.request import Request
from protonova.gateway.schema import (
    ANY,
    BOOLEAN,
    DESCRIPTION,
    DISK_CONFIG,
    FQDN,
    HOSTNAME,
    IP,
    IPV4,
    IPV6,
    METADATA,
    MOST,
    NAME,
    POSITIVE_STORED,
    STRING,
    TAG,
    UUID,
    UUID_OR_NULL,
    Arr,
    Either,
    Field,
    Obj,
    Plain,
    number,
    one_of,
    text,
    truth,
)
from protonova.gateway.validation import canonical_address
from protonova.gateway.versions import Window

FORCED_HOST = "os_compute_api:servers:create:forced_host"
REQUESTED_HOST = "compute:servers:create:requested_destination"
ATTACH_VOLUME = "os_compute_api:servers:create:attach_volume"
ATTACH_NETWORK = "os_compute_api:servers:create:attach_network"
TRUSTED_CERTIFICATES = "os_compute_api:servers:create:trusted_certs"
ZERO_DISK = "os_compute_api:servers:create:zero_disk_flavor"
EXTERNAL_NETWORK = "network:attach_external_network"

MULTIATTACH = Window.parse("2.60-")
PORT_RESOURCES = Window.parse("2.72-")
# Until 2.18 a server without a description got its name as one.
NAME_DESCRIBES = Window.of(until="2.18")

BASE64 = Plain(type="string", maxLength=65535, format="base64")
USER_DATA = BASE64
CERTIFICATES = Plain(
    type=["array", "null"],
    items={"type": "string", "minLength": 1},
    minItems=1,
    maxItems=50,
    uniqueItems=True,
)
FLAVOR_REF = Plain(type=["string", "integer"], minLength=1)
IMAGE_REF = Plain(type="string")
PERSONALITY = Arr(Obj(Field("path", STRING), Field("contents", Plain(type="string", format="base64"))))

_TAGGED = "2.32-2.36,2.42-"
_NETWORK = Obj(
    Field("fixed_ip", IP),
    Field("port", UUID_OR_NULL),
    Field("uuid", STRING, until="2.36"),
    Field("uuid", UUID, since="2.37"),
    Field("tag", TAG, versions=_TAGGED),
)
_DEVICE = (
    Field("virtual_name", text(most=255)),
    Field("volume_id", UUID),
    Field("snapshot_id", UUID),
    Field("volume_size", POSITIVE_STORED),
    Field("device_name", text(1, 255, r"^[a-zA-Z0-9._/-]*$")),
    Field("delete_on_termination", BOOLEAN),
    Field("no_device", ANY),
    Field("connection_info", text(most=16777215)),
)
_DEVICE_V1 = Obj(*_DEVICE)
_DEVICE_V2 = Obj(
    *_DEVICE,
    Field("source_type", one_of("volume", "image", "snapshot", "blank")),
    Field("uuid", text(1, 255, r"^[a-zA-Z0-9._-]*$")),
    Field("image_id", UUID),
    Field("destination_type", one_of("local", "volume")),
    Field("guest_format", text(most=255)),
    Field("device_type", text(most=255)),
    Field("disk_bus", text(most=255)),
    Field("boot_index", number(-MOST, MOST).or_null()),
    Field("tag", TAG, versions="2.32,2.42-"),
    Field("volume_type", Plain(type=["string", "null"], maxLength=255), since="2.67"),
)
_IDS = Either(UUID, Arr(UUID))
HINTS = Obj(
    Field("group", Plain(anyOf=[{"type": "string", "format": "uuid"}, {"type": "array", "maxItems": 1}])),
    Field("different_host", _IDS),
    Field("same_host", _IDS),
    Field("query", Plain(type=["string", "object"])),
    Field("target_cell", NAME),
    Field("different_cell", Either(STRING, Arr(STRING))),
    Field("build_near_host_ip", IP),
    Field("cidr", text(pattern=r"^/[0-9a-f.:]+$")),
    extra=True,
)
SERVER = Obj(
    Field("name", NAME, required=True),
    Field("imageRef", IMAGE_REF),
    Field("flavorRef", FLAVOR_REF, required=True),
    Field("adminPass", STRING),
    Field("metadata", METADATA),
    Field("networks", Arr(_NETWORK), until="2.36"),
    Field("networks", Either(Arr(_NETWORK), one_of("none", "auto")), since="2.37", required=True),
    Field("OS-DCF:diskConfig", DISK_CONFIG),
    Field("accessIPv4", IPV4),
    Field("accessIPv6", IPV6),
    Field("availability_zone", NAME),
    Field("block_device_mapping", Arr(_DEVICE_V1)),
    Field("block_device_mapping_v2", Arr(_DEVICE_V2)),
    Field("config_drive", BOOLEAN),
    Field("key_name", NAME),
    Field("min_count", POSITIVE_STORED),
    Field("max_count", POSITIVE_STORED),
    Field("return_reservation_id", BOOLEAN),
    Field("security_groups", Arr(Obj(Field("name", NAME)))),
    Field("user_data", USER_DATA),
    Field("personality", PERSONALITY, until="2.56"),
    Field("description", DESCRIPTION, since="2.19"),
    Field("tags", Arr(TAG, maxItems=50), since="2.52"),
    Field("trusted_image_certificates", CERTIFICATES, since="2.63"),
    Field("host", FQDN, since="2.74"),
    Field("hypervisor_hostname", FQDN, since="2.74"),
    Field("hostname", HOSTNAME, since="2.90", until="2.93"),
    Field("hostname", FQDN, since="2.94"),
)
CREATE = Obj(
    Field("server", SERVER, required=True),
    Field("os:scheduler_hints", HINTS),
    Field("OS-SCH-HNT:scheduler_hints", HINTS),
)

_SOURCES = {
    "image": pb.BLOCK_DEVICE_SOURCE_IMAGE,
    "volume": pb.BLOCK_DEVICE_SOURCE_VOLUME,
    "snapshot": pb.BLOCK_DEVICE_SOURCE_SNAPSHOT,
    "blank": pb.BLOCK_DEVICE_SOURCE_BLANK,
}
_DESTINATIONS = {
    "local": pb.BLOCK_DEVICE_DESTINATION_LOCAL,
    "volume": pb.BLOCK_DEVICE_DESTINATION_VOLUME,
}
# Where a disk goes that does not say.
_USUAL = {"image": "local", "blank": "local", "volume": "volume", "snapshot": "volume"}
_UUID_FIELD = {"image": "image_id", "volume": "volume_id", "snapshot": "snapshot_id"}
_EPHEMERAL = re.compile(r"ephemeral\d+")
_IMAGE_ID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")


def wanted_servers(request: Request) -> api.CreateServersRequest:
    """What is asked for, as the contract says it. Rights beyond creating itself are checked on the way."""
    body = request.body["server"]
    wanted = api.CreateServersRequest(
        name=body["name"],
        flavor_id=str(body["flavorRef"]).rstrip("/").rpartition("/")[2],
        image_id=image_id_of(request, body.get("imageRef", ""), "server.imageRef"),
        key_name=body.get("key_name", ""),
        metadata=body.get("metadata", {}),
        tags=body.get("tags", ()),
        user_data=body.get("user_data", ""),
        access_ip_v4=body.get("accessIPv4", ""),
        access_ip_v6=canonical_address(body.get("accessIPv6")),
        auto_disk_config=body.get("OS-DCF:diskConfig", "MANUAL") == "AUTO",
        hostname=body.get("hostname", ""),
        admin_password=body.get("adminPass", ""),
        user_token=request.environ.get("HTTP_X_AUTH_TOKEN", ""),
        # A call whose connection broke is sent again on its own: also without the client's key it must not make
        # the servers twice.
        idempotency_key=request.environ.get("HTTP_IDEMPOTENCY_KEY") or request.context.request_id,
        allow_port_resource_requests=request.version in PORT_RESOURCES,
        allow_multiattach=request.version in MULTIATTACH,
        allow_zero_disk=request.allowed(ZERO_DISK),
        allow_external_networks=request.allowed(EXTERNAL_NETWORK),
    )
    if request.version in NAME_DESCRIBES:
        wanted.description = body["name"]
    elif body.get("description") is not None:
        wanted.description = body["description"]
    if "config_drive" in body:
        wanted.config_drive = truth(body["config_drive"])
    _counts(body, wanted)
    _networks(request, body, wanted)
    _devices(request, body, wanted)
    _place(request, body, wanted)
    _hints(request, wanted)
    groups = dict.fromkeys(group["name"] for group in body.get("security_groups", ()) if "name" in group)
    wanted.security_groups.extend(groups or ("default",))
    if body.get("trusted_image_certificates"):
        request.enforce(TRUSTED_CERTIFICATES)
        wanted.trusted_image_certificates.extend(body["trusted_image_certificates"])
    for file in body.get("personality", ()):
        wanted.files.add(
            path=file.get("path", ""), contents=base64.b64decode("".join(file.get("contents", "").split()))
        )
    return wanted


def image_id_of(request: Request, reference: str, field: str) -> str:
    """The id of the image a body names; below /v2 its URL will do."""
    if request.legacy:
        reference = reference.rstrip("/").rpartition("/")[2]
    if reference and _IMAGE_ID.fullmatch(reference) is None:
        raise Fault(400, f"{field}: '{reference}' is not the UUID of an image.")
    return reference


def _counts(body: dict[str, Any], wanted: api.CreateServersRequest) -> None:
    # Either count alone is also the other, upwards: a minimum raises the maximum.
    least = int(body.get("min_count", 1))
    most = int(body.get("max_count", least))
    if least > most:
        raise Fault(400, f"server.min_count: {least} is more than server.max_count, {most}.")
    wanted.min_count = least
    wanted.max_count = most


def _networks(request: Request, body: dict[str, Any], wanted: api.CreateServersRequest) -> None:
    networks = body.get("networks")
    if networks == "none":
        wanted.network_mode = api.NETWORK_MODE_NONE
        return
    if networks == "auto":
        wanted.network_mode = api.NETWORK_MODE_AUTO
        return
    if not networks:
        return
    request.enforce(ATTACH_NETWORK)
    ports = set()
    for position, network in enumerate(networks):
        field = f"server.networks[{position}]"
        port, fixed = network.get("port"), network.get("fixed_ip", "")
        if port:
            if fixed:
                raise Fault(400, f"{field}: a port brings its own address; fixed_ip cannot be given with it.")
            if port in ports:
                raise Fault(400, f"{field}.port: {port} is named twice.")
            ports.add(port)
        elif not network.get("uuid"):
            raise Fault(400, f"{field}: neither the network (uuid) nor the port is named.")
        wanted.networks.add(
            network_id="" if port else network["uuid"],
            port_id=port or "",
            fixed_address=fixed,
            tag=network.get("tag", ""),
        )


def _devices(request: Request, body: dict[str, Any], wanted: api.CreateServersRequest) -> None:
    old, new = body.get("block_device_mapping"), body.get("block_device_mapping_v2")
    if old and new:
        raise Fault(400, "server: block_device_mapping and block_device_mapping_v2 exclude each other.")
    if not old and not new:
        return
    request.enforce(ATTACH_VOLUME)
    for position, device in enumerate(new or ()):
        if device.get("no_device"):
            wanted.suppressed_devices.append(device.get("device_name") or "")
        else:
            wanted.block_devices.append(_device(device, f"server.block_device_mapping_v2[{position}]"))
    boots = not wanted.image_id
    for position, device in enumerate(old or ()):
        if device.get("no_device"):
            wanted.suppressed_devices.append(device.get("device_name") or "")
        else:
            disk = _old_device(device, f"server.block_device_mapping[{position}]")
            if boots and disk.source != pb.BLOCK_DEVICE_SOURCE_BLANK:
                disk.boot_index = 0
                boots = False
            wanted.block_devices.append(disk)


def _device(device: dict[str, Any], field: str) -> pb.BlockDevice:
    source = device.get("source_type")
    if source is None:
        raise Fault(400, f"{field} lacks 'source_type', which is required.")
    disk = pb.BlockDevice(
        source=_SOURCES[source],
        destination=_DESTINATIONS[device.get("destination_type", _USUAL[source])],
        size_gb=int(device.get("volume_size", 0)),
        volume_type=device.get("volume_type") or "",
        device_name=device.get("device_name", ""),
        device_type=device.get("device_type", ""),
        disk_bus=device.get("disk_bus", ""),
        guest_format=device.get("guest_format", ""),
        delete_on_termination=truth(device.get("delete_on_termination", False)),
        tag=device.get("tag", ""),
    )
    identifier = device.get("uuid") or device.get(_UUID_FIELD.get(source, ""), "")
    if source == "blank":
        if identifier:
            raise Fault(400, f"{field}.uuid: a blank disk is made from nothing.")
    elif not identifier:
        raise Fault(400, f"{field}: the {source} it is made from is not named (uuid).")
    else:
        setattr(disk, _UUID_FIELD[source], identifier)
    if device.get("boot_index") is not None:
        disk.boot_index = int(device["boot_index"])
    return disk


def _old_device(device: dict[str, Any], field: str) -> pb.BlockDevice:
    """A disk of the first form of block_device_mapping, where the kind follows from what is named."""
    disk = pb.BlockDevice(
        size_gb=int(device.get("volume_size", 0)),
        device_name=device.get("device_name", ""),
        delete_on_termination=truth(device.get("delete_on_termination", False)),
    )
    virtual = device.get("virtual_name", "")
    if "volume_id" in device or "snapshot_id" in device:
        source = "volume" if "volume_id" in device else "snapshot"
        disk.source = _SOURCES[source]
        disk.destination = pb.BLOCK_DEVICE_DESTINATION_VOLUME
        setattr(disk, _UUID_FIELD[source], device[_UUID_FIELD[source]])
    elif virtual == "swap" or _EPHEMERAL.fullmatch(virtual):
        disk.source = pb.BLOCK_DEVICE_SOURCE_BLANK
        disk.destination = pb.BLOCK_DEVICE_DESTINATION_LOCAL
        disk.guest_format = "swap" if virtual == "swap" else ""
    else:
        raise Fault(400, f"{field} names neither a volume nor a snapshot.")
    return disk


def _place(request: Request, body: dict[str, Any], wanted: api.CreateServersRequest) -> None:
    zone = body.get("availability_zone", "")
    if ":" in zone:
        parts = zone.split(":")
        if len(parts) > 3:
            raise Fault(400, f"server.availability_zone: '{zone}' is not of the form zone:host:node.")
        request.enforce(FORCED_HOST)
        zone, wanted.host, wanted.node = (*parts, "", "")[:3]
        wanted.skip_filters = True
    wanted.availability_zone = zone
    host, node = body.get("host", ""), body.get("hypervisor_hostname", "")
    if host or node:
        if wanted.skip_filters:
            raise Fault(400, "server.host: the availability zone names a host already.")
        request.enforce(REQUESTED_HOST)
        wanted.host, wanted.node = host, node


def _hints(request: Request, wanted: api.CreateServersRequest) -> None:
    hints = request.body.get("os:scheduler_hints", request.body.get("OS-SCH-HNT:scheduler_hints")) or {}
    kept = {name: value for name, value in hints.items() if not name.startswith("_nova")}
    if isinstance(query := kept.get("query"), str) and not _is_list(query):
        raise Fault(400, "os:scheduler_hints.query: a list in JSON is wanted.")
    if kept:
        wanted.scheduler_hints.update(kept)


def _is_list(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), list)
    except orjson.JSONDecodeError:
        return False
