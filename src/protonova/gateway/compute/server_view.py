"""What users see of servers, and since when: the fields of index, detail, show, update and rebuild."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from google.protobuf.struct_pb2 import ListValue, Struct

from protonova.common.v1 import server_pb2 as pb
from protonova.gateway import times
from protonova.gateway.compute.server_status import (
    ALL_STATUSES,
    HOST_STATUSES,
    POWER_STATES,
    TASK_STATES,
    VM_STATES,
    status_of,
)
from protonova.gateway.request import Request
from protonova.gateway.schema import (
    ABSENT,
    INTEGER,
    INTEGER_OR_NULL,
    IP,
    KEYSTONE_ID,
    LINKS,
    METADATA,
    MICROTIME_OR_NULL,
    NUMBER,
    OBJECT,
    STRING,
    STRING_OR_NULL,
    TIME,
    TRUE_FALSE,
    UUID,
    Arr,
    Either,
    Field,
    Map,
    Obj,
    Plain,
    View,
    one_of,
    text,
)

ATTRIBUTES = "os_compute_api:os-extended-server-attributes"
HOST_STATUS = "os_compute_api:servers:show:host_status"
HOST_UNKNOWN = "os_compute_api:servers:show:host_status:unknown-only"
EXTRA_SPECS = "os_compute_api:servers:show:flavor-extra-specs"

_FAULTY = frozenset(("ERROR", "DELETED"))
_PROGRESSING = frozenset(("ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING"))


def _links(server: pb.Server, request: Request) -> list[dict[str, str]]:
    return request.links.pair("servers", server.id)


def addresses_of(server: pb.Server, typed: bool) -> dict[str, list[dict[str, Any]]]:
    """A server's addresses by the name of their network; ``typed`` adds kind and MAC address."""
    networks: dict[str, list[dict[str, Any]]] = {}
    for interface in server.interfaces:
        shown = networks.setdefault(interface.network_name, [])
        mac = interface.mac_address if typed else None
        for fixed in interface.addresses:
            shown.append(_address(fixed.address, "fixed", mac))
            for floating in fixed.floating_addresses:
                shown.append(_address(floating, "floating", mac))
    return networks


def _address(address: str, kind: str, mac: str | None) -> dict[str, Any]:
    version = 6 if ":" in address else 4
    if mac is None:
        return {"addr": address, "version": version}
    return {"addr": address, "version": version, "OS-EXT-IPS:type": kind, "OS-EXT-IPS-MAC:mac_addr": mac}


def _fault(server: pb.Server, request: Request) -> Any:
    if not server.HasField("fault") or status_of(server) not in _FAULTY:
        return ABSENT
    fault = server.fault
    shown: dict[str, Any] = {
        "code": fault.code,
        "created": times.zulu(fault.created_at),
        "message": fault.message,
    }
    if fault.details and (request.context.is_admin or fault.code != 500):
        shown["details"] = fault.details
    return shown


@lru_cache(maxsize=16384)
def host_id(project_id: str, host: str) -> str:
    """Tells hosts apart without naming them, differently in each project."""
    return hashlib.sha224((project_id + host).encode()).hexdigest() if host else ""


def _flavor_link(server: pb.Server, request: Request) -> dict[str, Any]:
    return {"id": server.flavor.id, "links": request.links.bookmark("flavors", server.flavor.id)}


def _once(view: View, message: Any, request: Request) -> dict[str, Any]:
    """What a view shows of a message; servers of one answer that hold equal ones share it."""
    key = (view, message.SerializeToString())
    shown = request.memo.get(key)
    if shown is None:
        shown = request.memo[key] = request.show(view, message)
    return shown


FLAVOR = View(
    Field("vcpus", INTEGER, lambda f, _: f.vcpus, required=True),
    Field("ram", INTEGER, lambda f, _: f.memory_mb, required=True),
    Field("disk", INTEGER, lambda f, _: f.root_gb, required=True),
    Field("ephemeral", INTEGER, lambda f, _: f.ephemeral_gb, required=True),
    Field("swap", INTEGER, lambda f, _: f.swap_mb, required=True),
    Field("original_name", STRING, lambda f, _: f.name, required=True),
    Field("extra_specs", Map("", STRING), lambda f, _: dict(f.extra_specs), when=EXTRA_SPECS),
)
FLAVOR_LINK = Obj(Field("id", STRING), Field("links", LINKS))


def _flavor(server: pb.Server, request: Request) -> dict[str, Any]:
    return _once(FLAVOR, server.flavor, request)


IMAGE = View(
    Field("id", UUID, lambda i, _: i.id),
    Field("links", LINKS, lambda i, q: q.links.bookmark("images", i.id)),
    Field("properties", OBJECT, lambda i, _: dict(i.properties), since="2.98"),
)


def _image(server: pb.Server, request: Request) -> Any:
    return _once(IMAGE, server.image, request) if server.image.id else ""


VOLUME = View(
    Field("id", STRING, lambda d, _: d.volume_id, required=True),
    Field(
        "delete_on_termination", TRUE_FALSE, lambda d, _: d.delete_on_termination, since="2.3", required=True
    ),
)


def _metadata(server: pb.Server, _: Request) -> dict[str, str]:
    return dict(server.metadata) if server.metadata else {}


def _volumes(server: pb.Server, request: Request) -> list[dict[str, Any]]:
    if not server.block_devices:
        return []
    attached = [device for device in server.block_devices if device.volume_id]
    return request.show_all(VOLUME, attached) if attached else []


def _security_groups(server: pb.Server, _: Request) -> Any:
    """Groups are of ports: a server without any is in none."""
    return [{"name": name} for name in server.security_groups if server.interfaces] or ABSENT


def _progress(server: pb.Server, _: Request) -> Any:
    return server.progress if status_of(server) in _PROGRESSING else ABSENT


def _host_unknown(server: pb.Server, _: Request) -> Any:
    return "UNKNOWN" if server.host_status == pb.HOST_STATUS_UNKNOWN else ABSENT


def _plain(value: Any) -> Any:
    if isinstance(value, Struct):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, ListValue):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _hints(server: pb.Server, _: Request) -> dict[str, Any]:
    return _plain(server.scheduler_hints) if server.HasField("scheduler_hints") else {}


ADDRESS = Obj(
    Field("addr", IP, required=True),
    Field("version", one_of(4, 6), required=True),
    Field("OS-EXT-IPS:type", one_of("fixed", "floating")),
    Field("OS-EXT-IPS-MAC:mac_addr", STRING),
)
ADDRESSES = Map("", Arr(ADDRESS))
STATUS = Plain(type="string", enum=ALL_STATUSES)
IPV4_OR_EMPTY = Plain(type="string")
FAULT = Obj(
    Field("code", INTEGER, required=True),
    Field("created", TIME, required=True),
    Field("message", STRING, required=True),
    Field("details", STRING),
)

ID = Field("id", UUID, lambda s, _: s.id, required=True)
NAME = Field("name", STRING, lambda s, _: s.name, required=True)
LINKS_FIELD = Field("links", LINKS, _links, required=True)

# Shown by every answer with a whole server.
_ALWAYS = (
    ID,
    NAME,
    Field("status", STATUS, lambda s, _: status_of(s), required=True),
    Field("tenant_id", KEYSTONE_ID, lambda s, _: s.project_id, required=True),
    Field("user_id", KEYSTONE_ID, lambda s, _: s.user_id, required=True),
    Field("metadata", METADATA, _metadata, required=True),
    Field("hostId", STRING, lambda s, _: host_id(s.project_id, s.host), required=True),
    Field("image", Either(IMAGE, one_of("")), _image, required=True),
    Field("flavor", FLAVOR_LINK, _flavor_link, until="2.46", required=True),
    Field("flavor", FLAVOR, _flavor, since="2.47", required=True),
    Field("created", TIME, lambda s, _: times.zulu(s.created_at), required=True),
    Field(
        "updated",
        TIME,
        lambda s, _: times.zulu(s.updated_at if s.HasField("updated_at") else s.created_at),
        required=True,
    ),
    Field("accessIPv4", IPV4_OR_EMPTY, lambda s, _: s.access_ip_v4, required=True),
    Field("accessIPv6", IPV4_OR_EMPTY, lambda s, _: s.access_ip_v6, required=True),
    LINKS_FIELD,
    Field(
        "OS-DCF:diskConfig", STRING, lambda s, _: "AUTO" if s.auto_disk_config else "MANUAL", required=True
    ),
    Field("progress", NUMBER, _progress),
    Field("fault", FAULT, _fault),
    Field("locked", TRUE_FALSE, lambda s, _: bool(s.locked_by), since="2.9", required=True),
    Field(
        "description",
        STRING_OR_NULL,
        lambda s, _: s.description if s.HasField("description") else None,
        since="2.19",
        required=True,
    ),
    Field("tags", Arr(STRING), lambda s, _: list(s.tags), since="2.26", required=True),
    Field(
        "trusted_image_certificates",
        Arr(STRING).or_null(),
        lambda s, _: list(s.trusted_image_certificates) or None,
        since="2.63",
        required=True,
    ),
    Field("locked_reason", STRING_OR_NULL, lambda s, _: s.locked_reason or None, since="2.73", required=True),
    Field(
        "pinned_availability_zone",
        STRING_OR_NULL,
        lambda s, _: s.pinned_availability_zone if s.HasField("pinned_availability_zone") else None,
        since="2.96",
        required=True,
    ),
    Field("scheduler_hints", OBJECT, _hints, since="2.100", required=True),
)

_ADDRESSES = Field("addresses", ADDRESSES, lambda s, _: addresses_of(s, True), required=True)
_HOSTNAME = "OS-EXT-SRV-ATTR:hostname"

# Shown by detail and show; by update and rebuild from 2.75.
_MORE = (
    Field("config_drive", STRING, lambda s, _: "True" if s.config_drive else "", required=True),
    Field("os-extended-volumes:volumes_attached", Arr(VOLUME), _volumes, required=True),
    Field("security_groups", Arr(Obj(Field("name", STRING, required=True))), _security_groups),
    Field("OS-EXT-AZ:availability_zone", STRING, lambda s, _: s.availability_zone, required=True),
    Field("OS-EXT-STS:power_state", INTEGER, lambda s, _: POWER_STATES[s.power_state], required=True),
    Field("OS-EXT-STS:task_state", STRING_OR_NULL, lambda s, _: TASK_STATES.get(s.task_state), required=True),
    Field("OS-EXT-STS:vm_state", STRING_OR_NULL, lambda s, _: VM_STATES.get(s.vm_state), required=True),
    Field(
        "OS-SRV-USG:launched_at",
        MICROTIME_OR_NULL,
        lambda s, _: times.field_micro(s, "launched_at"),
        required=True,
    ),
    Field(
        "OS-SRV-USG:terminated_at",
        MICROTIME_OR_NULL,
        lambda s, _: times.field_micro(s, "terminated_at"),
        required=True,
    ),
    Field("OS-EXT-SRV-ATTR:host", STRING_OR_NULL, lambda s, _: s.host or None, when=ATTRIBUTES),
    Field(
        "OS-EXT-SRV-ATTR:hypervisor_hostname", STRING_OR_NULL, lambda s, _: s.node or None, when=ATTRIBUTES
    ),
    Field("OS-EXT-SRV-ATTR:instance_name", STRING, lambda s, _: s.instance_name, when=ATTRIBUTES),
    Field(_HOSTNAME, STRING, lambda s, _: s.hostname, since="2.3", until="2.89", when=ATTRIBUTES),
    Field(_HOSTNAME, STRING, lambda s, _: s.hostname, since="2.90", required=True),
    Field(
        "OS-EXT-SRV-ATTR:kernel_id",
        STRING_OR_NULL,
        lambda s, _: s.image.properties.get("kernel_id", ""),
        since="2.3",
        when=ATTRIBUTES,
    ),
    Field(
        "OS-EXT-SRV-ATTR:ramdisk_id",
        STRING_OR_NULL,
        lambda s, _: s.image.properties.get("ramdisk_id", ""),
        since="2.3",
        when=ATTRIBUTES,
    ),
    Field(
        "OS-EXT-SRV-ATTR:launch_index",
        INTEGER_OR_NULL,
        lambda s, _: s.launch_index,
        since="2.3",
        when=ATTRIBUTES,
    ),
    Field(
        "OS-EXT-SRV-ATTR:reservation_id",
        STRING_OR_NULL,
        lambda s, _: s.reservation_id or None,
        since="2.3",
        when=ATTRIBUTES,
    ),
    Field(
        "OS-EXT-SRV-ATTR:root_device_name",
        STRING_OR_NULL,
        lambda s, _: s.root_device_name or None,
        since="2.3",
        when=ATTRIBUTES,
    ),
    # Whoever may see only that a host does not answer is listed first: the full right overrides it.
    Field("host_status", STRING, _host_unknown, since="2.16", when=HOST_UNKNOWN),
    Field("host_status", STRING, lambda s, _: HOST_STATUSES[s.host_status], since="2.16", when=HOST_STATUS),
)
_KEY_NAME = Field("key_name", STRING_OR_NULL, lambda s, _: s.key_name or None, required=True)
_USER_DATA = Field(
    "OS-EXT-SRV-ATTR:user_data",
    STRING_OR_NULL,
    lambda s, _: s.user_data or None,
    since="2.3",
    when=ATTRIBUTES,
)
_GROUPS = Field(
    "server_groups",
    Arr(UUID, maxItems=1),
    lambda s, _: list(s.server_group_ids)[:1],
    since="2.71",
    required=True,
)
_BARE_ADDRESSES = Field(
    "addresses", ADDRESSES, lambda s, _: addresses_of(s, False), until="2.74", required=True
)

SUMMARY = View(ID, NAME, LINKS_FIELD)
DETAIL = View(*_ALWAYS, _ADDRESSES, *_MORE, _KEY_NAME, _USER_DATA)
SHOW = View(*_ALWAYS, _ADDRESSES, *_MORE, _KEY_NAME, _USER_DATA, _GROUPS)
# Until 2.74 an update answered with less than a show; since then with the same.
UPDATED = View(
    *_ALWAYS,
    _BARE_ADDRESSES,
    *(field.from_version("2.75") for field in (_ADDRESSES, *_MORE, _KEY_NAME, _USER_DATA)),
    _GROUPS,
)
# A rebuild tells the key from 2.54 and the user data from 2.57.
REBUILT = View(
    *_ALWAYS,
    _BARE_ADDRESSES,
    *(field.from_version("2.75") for field in (_ADDRESSES, *_MORE)),
    _KEY_NAME.from_version("2.54"),
    Field("user_data", STRING_OR_NULL, lambda s, _: s.user_data or None, since="2.57", required=True),
    _GROUPS,
)

_UNKNOWN = Field("status", STATUS, lambda *_: "UNKNOWN", required=True)
_CREATED = Field("created", TIME, lambda s, _: times.zulu(s.created_at))
_TENANT = Field("tenant_id", KEYSTONE_ID, lambda s, _: s.project_id)

# What is known, from 2.69, of servers whose cell does not answer.
PARTIAL_SUMMARY = View(ID, LINKS_FIELD, _UNKNOWN)
PARTIAL_DETAIL = View(ID, LINKS_FIELD, _UNKNOWN, _CREATED, _TENANT)
PARTIAL_SHOW = View(
    ID,
    LINKS_FIELD,
    _UNKNOWN,
    _CREATED,
    _TENANT,
    Field("user_id", KEYSTONE_ID, lambda s, _: s.user_id),
    Field("image", Either(IMAGE, one_of("")), _image),
    Field("flavor", FLAVOR, _flavor),
    Field("OS-EXT-AZ:availability_zone", STRING, lambda s, _: s.availability_zone or "UNKNOWN"),
    Field("OS-EXT-STS:power_state", INTEGER, lambda s, _: POWER_STATES[s.power_state]),
    _GROUPS,
)

# The answer to a create.
CREATED = View(
    ID,
    LINKS_FIELD,
    Field(
        "OS-DCF:diskConfig", STRING, lambda s, _: "AUTO" if s.auto_disk_config else "MANUAL", required=True
    ),
    Field(
        "security_groups",
        Arr(Obj(Field("name", text(), required=True))),
        lambda s, _: [{"name": name} for name in s.security_groups],
        required=True,
    ),
    Field("adminPass", STRING),
)


def shown(request: Request, whole: View, partial: View, server: pb.Server) -> dict[str, Any]:
    """A server by the view that fits what is known of it."""
    return request.show(partial if server.partial else whole, server)
