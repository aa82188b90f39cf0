"""Filters and sort orders of server lists: what they are called, who may use them since when, what they mean.

A caller with the right ``allow_all_filters`` may use every filter; for others one that is not (yet) open to
them is dropped without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from protonova.common.v1 import server_query_pb2 as pb
from protonova.gateway import paging, times
from protonova.gateway.compute import server_status
from protonova.gateway.faults import Fault
from protonova.gateway.request import Request
from protonova.gateway.schema import REGEX, STRING, TIME, Field, Type, one_of
from protonova.gateway.validation import Query
from protonova.gateway.versions import Window

ALL_FILTERS = "os_compute_api:servers:allow_all_filters"

# From here on a status nobody knows is an error; before, it matched nothing.
STRICT_STATUS = Window.parse("2.38-")

EXACT = pb.TextMatch.KIND_EXACT
MATCH = pb.TextMatch.KIND_REGEX


@dataclass(frozen=True)
class Filter:
    """One query parameter: its type, since when everybody may use it (None = never), and, for those that
    compare one field of a server as text, which field and how."""

    name: str
    type: Type
    open_since: str | None = None
    field: str = ""
    kind: pb.TextMatch.Kind.ValueType = MATCH
    since: str | None = None

    @property
    def open(self) -> Window:
        return Window.of(since=self.open_since) if self.open_since else Window(())


# Compared as text; the rest is read by name below.
FILTERS = (
    Filter("user_id", STRING, "2.83", "user_id", EXACT),
    Filter("project_id", STRING),
    Filter("tenant_id", STRING),
    Filter("launch_index", STRING, None, "launch_index"),
    Filter("image_ref", STRING, None, "image.id", EXACT),
    Filter("image", STRING, "2.1", "image.id", EXACT),
    Filter("kernel_id", REGEX, None, "kernel_id"),
    Filter("ramdisk_id", REGEX, None, "ramdisk_id"),
    Filter("hostname", REGEX, "2.90", "hostname"),
    Filter("key_name", REGEX, "2.83", "key_name"),
    Filter("power_state", REGEX, "2.83"),
    Filter("vm_state", STRING, "2.83"),
    Filter("task_state", STRING, "2.83"),
    Filter("host", STRING, None, "host", EXACT),
    Filter("node", REGEX, None, "node"),
    Filter("flavor", REGEX, "2.1", "flavor.id", EXACT),
    Filter("reservation_id", REGEX, "2.1", "reservation_id"),
    Filter("launched_at", REGEX, "2.83", "launched_at"),
    Filter("terminated_at", REGEX, "2.83", "terminated_at"),
    Filter("availability_zone", REGEX, "2.83", "availability_zone"),
    Filter("name", REGEX, "2.1", "name"),
    Filter("display_name", REGEX, None, "name"),
    # Accepted, compares nothing: servers never had a column of that name.
    Filter("description", REGEX),
    Filter("display_description", REGEX, None, "description"),
    Filter("locked_by", REGEX, None, "locked_by"),
    Filter("uuid", STRING),
    Filter("root_device_name", REGEX, None, "root_device_name"),
    Filter("config_drive", REGEX, "2.83", "config_drive"),
    Filter("access_ip_v4", REGEX, None, "access_ip_v4"),
    Filter("access_ip_v6", REGEX, None, "access_ip_v6"),
    Filter("auto_disk_config", REGEX, None, "auto_disk_config"),
    Filter("progress", REGEX, "2.83", "progress"),
    Filter("all_tenants", STRING),
    Filter("soft_deleted", STRING),
    Filter("deleted", STRING),
    Filter("status", STRING, "2.1"),
    Filter("changes-since", TIME, "2.1"),
    Filter("ip", REGEX, "2.1"),
    Filter("ip6", REGEX, "2.5"),
    Filter("created_at", REGEX, "2.83", "created_at"),
    Filter("tags", REGEX, "2.26", since="2.26"),
    Filter("tags-any", REGEX, "2.26", since="2.26"),
    Filter("not-tags", REGEX, "2.26", since="2.26"),
    Filter("not-tags-any", REGEX, "2.26", since="2.26"),
    Filter("changes-before", TIME, "2.66", since="2.66"),
    Filter("locked", STRING, "2.73", since="2.73"),
)
_BY_NAME = {each.name: each for each in FILTERS}
# Never filters, though lists once let them through.
FORBIDDEN = (
    "block_device_mapping",
    "services",
    "metadata",
    "system_metadata",
    "info_cache",
    "security_groups",
    "pci_devices",
)

# What users call a column → what the contract calls it.
_SORT_FIELDS = {
    "display_name": "name",
    "display_description": "description",
    "uuid": "id",
    "image_ref": "image.id",
    "instance_type_id": "flavor.id",
    "locked": "locked_by",
}
SORT_KEYS = (
    "access_ip_v4",
    "access_ip_v6",
    "auto_disk_config",
    "availability_zone",
    "config_drive",
    "created_at",
    "display_description",
    "display_name",
    "host",
    "hostname",
    "image_ref",
    "instance_type_id",
    "kernel_id",
    "key_name",
    "launch_index",
    "launched_at",
    "locked_by",
    "node",
    "power_state",
    "progress",
    "project_id",
    "ramdisk_id",
    "root_device_name",
    "task_state",
    "terminated_at",
    "updated_at",
    "user_id",
    "uuid",
    "vm_state",
)
# Accepted until 2.74 and passed over; "locked" became a real key in 2.73.
OLD_SORT_KEYS = (
    "architecture",
    "cell_name",
    "cleaned",
    "default_ephemeral_device",
    "default_swap_device",
    "deleted",
    "deleted_at",
    "disable_terminate",
    "ephemeral_gb",
    "ephemeral_key_uuid",
    "id",
    "key_data",
    "launched_on",
    "memory_mb",
    "os_type",
    "reservation_id",
    "root_gb",
    "shutdown_terminate",
    "user_data",
    "vcpus",
    "vm_mode",
)
SORT_BY_LOCKED = Window.parse("2.73-")
_SORTED_BY_ADMINS = frozenset(("host", "node"))

LIST_QUERY = Query(
    *(Field(each.name, each.type, since=each.since) for each in FILTERS),
    *(Field(name, STRING) for name in FORBIDDEN),
    Field("sort_key", one_of(*SORT_KEYS, "locked", *OLD_SORT_KEYS), until="2.74"),
    Field("sort_key", one_of(*SORT_KEYS, "locked"), since="2.75"),
    Field("sort_dir", STRING),
    paging.LIMIT,
    paging.MARKER,
    strict="2.75",
)

_TRUE = frozenset(("1", "t", "true", "on", "y", "yes"))
_FALSE = frozenset(("0", "f", "false", "off", "n", "no"))


class MatchesNothing(Exception):
    """The filters exclude each other or name what cannot be: the list is empty."""


def filter_of(request: Request, all_projects_rule: str) -> pb.ServerFilter:
    """What a list is asked to hold."""
    for name in request.query:
        if name in FORBIDDEN:
            raise Fault(400, f"query.{name} is not a filter.")
    trusted = request.allowed(ALL_FILTERS)
    given = {
        name: values
        for name, values in request.query.items()
        if (known := _BY_NAME.get(name)) is not None
        and (trusted or name == "all_tenants" or request.version in known.open)
    }
    wanted = pb.ServerFilter()
    _projects(request, given, wanted, all_projects_rule)
    _states(request, given, wanted)
    _times(given, wanted)
    _deletion(given, wanted)
    _tags(given, wanted)
    for name, values in given.items():
        known = _BY_NAME[name]
        if known.field:
            wanted.texts.add(field=known.field, kind=known.kind, value=values[-1])
    if "uuid" in given:
        wanted.server_ids.append(given["uuid"][-1])
    if "locked" in given:
        wanted.locked = _strict_truth("locked", given["locked"][-1])
    wanted.ip_v4_regex = given.get("ip", [""])[-1]
    wanted.ip_v6_regex = given.get("ip6", [""])[-1]
    return wanted


def _projects(
    request: Request, given: dict[str, list[str]], wanted: pb.ServerFilter, all_projects_rule: str
) -> None:
    everywhere = False
    if "all_tenants" in given:
        value = given["all_tenants"][-1]
        everywhere = value == "" or _strict_truth("all_tenants", value)
    if not everywhere:
        wanted.project_id = request.project_id
        return
    request.enforce(all_projects_rule)
    for name in ("tenant_id", "project_id"):
        if name in given:
            wanted.project_id = given[name][-1]


def _states(request: Request, given: dict[str, list[str]], wanted: pb.ServerFilter) -> None:
    vm_states: set[str] | None = None
    task_states: set[str] | None = None
    if "status" in given:
        vm_states, task_states = set(), set()
        for status in given["status"]:
            states, tasks = server_status.states_of(status)
            vm_states |= states
            task_states |= tasks
        if not vm_states:
            if request.version in STRICT_STATUS:
                raise Fault(400, f"query.status: there is no status '{given['status'][-1]}'.")
            raise MatchesNothing
        if "deleted" in vm_states and not request.context.is_admin:
            raise Fault(403, "Only administrators may list deleted servers.")
    if "vm_state" in given:
        vm_states = _both(vm_states, set(given["vm_state"]))
    if "task_state" in given:
        task_states = _both(task_states or None, set(given["task_state"]))
    wanted.vm_states.extend(_numbers(vm_states, server_status.VM_NUMBERS))
    wanted.task_states.extend(_numbers(task_states, server_status.TASK_NUMBERS))
    if "power_state" in given:
        pattern = re.compile(given["power_state"][-1])
        shown = server_status.POWER_STATES.items()
        wanted.power_states.extend(state for state, number in shown if pattern.search(str(number)))
        if not wanted.power_states:
            raise MatchesNothing


def _both(one: set[str] | None, other: set[str]) -> set[str]:
    both = other if one is None else one & other
    if not both:
        raise MatchesNothing
    return both


def _numbers(names: set[str] | None, known: dict[str, int]) -> Iterable[Any]:
    if not names:
        return ()
    found = sorted(known[name] for name in names if name in known)
    if not found:
        raise MatchesNothing
    return found


def _times(given: dict[str, list[str]], wanted: pb.ServerFilter) -> None:
    if "changes-since" in given:
        wanted.changed_since.CopyFrom(times.read(given["changes-since"][-1], "changes-since"))
    if "changes-before" in given:
        wanted.changed_before.CopyFrom(times.read(given["changes-before"][-1], "changes-before"))
    if (
        wanted.HasField("changed_since")
        and wanted.HasField("changed_before")
        and wanted.changed_since.ToNanoseconds() > wanted.changed_before.ToNanoseconds()
    ):
        raise Fault(400, "query.changes-since is later than query.changes-before.")


def _deletion(given: dict[str, list[str]], wanted: pb.ServerFilter) -> None:
    if "deleted" in given:
        wanted.deleted = given["deleted"][-1].lower() in _TRUE
    elif "changes-since" not in given and "changes-before" not in given:
        # A status of deleted servers asks for them without saying so.
        wanted.deleted = server_status.VM_NUMBERS["deleted"] in wanted.vm_states
    if "soft_deleted" in given:
        wanted.soft_deleted = given["soft_deleted"][-1].lower() in _TRUE


def _tags(given: dict[str, list[str]], wanted: pb.ServerFilter) -> None:
    for name, target in (
        ("tags", wanted.tags_all),
        ("tags-any", wanted.tags_any),
        ("not-tags", wanted.tags_not_all),
        ("not-tags-any", wanted.tags_not_any),
    ):
        if name in given:
            target.extend(tag for tag in given[name][-1].split(",") if tag)


def _strict_truth(name: str, value: str) -> bool:
    lowered = value.lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise Fault(400, f"query.{name}: '{value}' is not a boolean.")


def sort_of(request: Request) -> list[pb.ServerSort]:
    """The order a list is asked to have; none for the usual one."""
    keys = request.query.get("sort_key", [])
    directions = request.query.get("sort_dir", [])
    if len(directions) > len(keys) and directions:
        raise Fault(400, "query.sort_dir is given more often than query.sort_key.")
    for direction in directions:
        if direction not in ("asc", "desc"):
            raise Fault(400, f"query.sort_dir: '{direction}' is neither asc nor desc.")
    usual = directions[0] if directions else "desc"
    order = []
    for position, key in enumerate(keys):
        if key in OLD_SORT_KEYS or (key == "locked" and request.version not in SORT_BY_LOCKED):
            continue
        if key in _SORTED_BY_ADMINS and not request.context.is_admin:
            raise Fault(403, f"Only administrators may sort by {key}.")
        direction = directions[position] if position < len(directions) else usual
        order.append(pb.ServerSort(key=_SORT_FIELDS.get(key, key), descending=direction == "desc"))
    return order
