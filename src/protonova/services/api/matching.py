"""Which servers a filter admits: for the servers this service itself holds. Cells match their own in SQL."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable

from protonova.common.v1 import server_query_pb2
from protonova.common.v1.server_pb2 import LOCK_HOLDER_OWNER, Server
from protonova.common.v1.server_query_pb2 import ServerFilter, TextMatch
from protonova.services.api import ordering, times
from protonova.services.runtime import errors

# All that is known of a server whose cell does not answer.
PARTIAL_FIELDS = frozenset({"id", "project_id", "user_id", "flavor.id", "image.id", "availability_zone"})

Condition = Callable[[Server], bool]


def building(wanted: ServerFilter) -> Condition | None:
    """For build requests; None when no build request can match. Raises FILTER_INVALID."""
    texts = [_text(match) for match in wanted.texts]
    if (wanted.HasField("deleted") and wanted.deleted) or (
        wanted.HasField("soft_deleted") and wanted.soft_deleted
    ):
        return None
    if wanted.ip_v4_regex or wanted.ip_v6_regex:
        return None
    conditions = [*_known(wanted), *texts]
    if wanted.vm_states:
        vm_states = set(wanted.vm_states)
        conditions.append(lambda server: server.vm_state in vm_states)
    if wanted.task_states:
        task_states = set(wanted.task_states)
        conditions.append(lambda server: server.task_state in task_states)
    if wanted.power_states:
        power_states = set(wanted.power_states)
        conditions.append(lambda server: server.power_state in power_states)
    if wanted.HasField("locked"):
        conditions.append(lambda server: bool(server.locked_by) == wanted.locked)
    if wanted.HasField("changed_since"):
        since = times.micros(wanted.changed_since)
        conditions.append(lambda server: times.micros(server.updated_at) >= since)
    if wanted.HasField("changed_before"):
        before = times.micros(wanted.changed_before)
        conditions.append(lambda server: times.micros(server.updated_at) <= before)
    conditions += _tags(wanted)
    return lambda server: all(condition(server) for condition in conditions)


def partial(wanted: ServerFilter) -> Condition | None:
    """For servers of a cell that does not answer; None when the filter asks for what is not known of them."""
    narrow = ServerFilter()
    narrow.CopyFrom(wanted)
    for known in ("project_id", "server_ids", "texts"):
        narrow.ClearField(known)
    if wanted.HasField("deleted") and not wanted.deleted:
        narrow.ClearField("deleted")
    if wanted.HasField("soft_deleted") and not wanted.soft_deleted:
        narrow.ClearField("soft_deleted")
    if narrow.ByteSize() or any(match.field not in PARTIAL_FIELDS for match in wanted.texts):
        return None
    conditions = [*_known(wanted), *(_text(match) for match in wanted.texts)]
    return lambda server: all(condition(server) for condition in conditions)


def _known(wanted: ServerFilter) -> list[Condition]:
    conditions: list[Condition] = []
    if wanted.project_id:
        conditions.append(lambda server: server.project_id == wanted.project_id)
    if wanted.server_ids:
        ids = set(wanted.server_ids)
        conditions.append(lambda server: server.id in ids)
    return conditions


def _text(match: TextMatch) -> Condition:
    read = _reader(match.field)
    if match.kind == server_query_pb2.TextMatch.KIND_REGEX:
        try:
            pattern = re.compile(match.value)
        except re.error:
            raise errors.InvalidArgument(
                f"'{match.value}' is not a regular expression.", reason="FILTER_INVALID", field=match.field
            ) from None
        return lambda server: pattern.search(read(server)) is not None
    return lambda server: read(server) == match.value


def _tags(wanted: ServerFilter) -> list[Condition]:
    """Each list is one condition of its own."""
    every, some = set(wanted.tags_all), set(wanted.tags_any)
    not_every, none = set(wanted.tags_not_all), set(wanted.tags_not_any)
    conditions: list[Condition] = []
    if every:
        conditions.append(lambda server: every <= set(server.tags))
    if some:
        conditions.append(lambda server: bool(some & set(server.tags)))
    if not_every:
        conditions.append(lambda server: not not_every <= set(server.tags))
    if none:
        conditions.append(lambda server: not none & set(server.tags))
    return conditions


def _reader(field: str) -> Callable[[Server], str]:
    """A field as text, spelled as users know it."""
    if field == "locked_by":
        return lambda server: _holder(server.locked_by)
    if field == "config_drive":
        return lambda server: "True" if server.config_drive else ""
    if field == "auto_disk_config":
        return lambda server: "1" if server.auto_disk_config else "0"
    names = ordering.path(field)
    return lambda server: _spelled(ordering.value(server, names))


def _holder(locked_by: int) -> str:
    if not locked_by:
        return ""
    return "owner" if locked_by == LOCK_HOLDER_OWNER else "admin"


def _spelled(value: object) -> str:
    if isinstance(value, tuple):
        seconds = value[0]
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
        return f"{moment:%Y-%m-%d %H:%M:%S}" if seconds else ""
    return str(value)
