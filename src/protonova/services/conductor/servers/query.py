"""ServerFilter as SQL conditions: the one meaning of every filter, for lists and for watchers.

Regular expressions are the database's own (Python's on SQLite). Both engines that could be asked must accept one,
so that what is valid does not hang on where a cell keeps its servers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from protonova.common.v1.server_pb2 import VmState
from protonova.common.v1.server_query_pb2 import ServerFilter, TextMatch
from protonova.services.conductor.clock import to_micros
from protonova.services.conductor.servers.text import text_of
from protonova.services.conductor.tables import server_tags, servers
from protonova.services.runtime import errors

_columns = servers.c
_LONGEST_REGEX = 255
# Lets ^ and $ meet the ends of lines: addresses of a server stand in one text, one a line.
_LINEWISE = {"sqlite": "(?m)", "postgresql": "(?n)", "mysql": "(?m)", "mariadb": "(?m)"}


def conditions(query: ServerFilter, dialect: str) -> list[ColumnElement[bool]]:
    """All must hold. Raises `errors.InvalidArgument` (FILTER_INVALID; facts: field)."""
    return [
        *_life(query),
        *_sets(query),
        *_texts(query, dialect),
        *_tags(query),
    ]


def invalid(field: str, message: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(message, reason="FILTER_INVALID", field=field)


def refused_regex(error: sa.exc.DBAPIError) -> bool:
    """Whether a database refused a regular expression."""
    state = getattr(error.orig, "sqlstate", None)
    arguments: tuple[object, ...] = getattr(error.orig, "args", ())
    return state == "2201B" or arguments[:1] == (1139,)


def _life(query: ServerFilter) -> Iterator[ColumnElement[bool]]:
    changes = query.HasField("changed_since") or query.HasField("changed_before")
    soft_deleted = _columns.vm_state == VmState.VM_STATE_SOFT_DELETED
    if query.HasField("deleted") and query.deleted:
        gone = _columns.deleted_at > 0
        yield sa.or_(gone, soft_deleted) if query.soft_deleted else gone
    elif query.HasField("deleted") or not changes:
        yield _columns.deleted_at == 0
        asked = query.soft_deleted or VmState.VM_STATE_SOFT_DELETED in query.vm_states
        if not asked:
            yield sa.not_(soft_deleted)
    else:
        yield _columns.deleted_at >= 0
    if query.HasField("changed_since"):
        yield _columns.updated_at >= to_micros(query.changed_since)
    if query.HasField("changed_before"):
        yield _columns.updated_at <= to_micros(query.changed_before)


def _sets(query: ServerFilter) -> Iterator[ColumnElement[bool]]:
    if query.project_id:
        yield _columns.project_id == query.project_id
    if query.server_ids:
        yield _columns.id.in_(list(query.server_ids))
    if query.vm_states:
        yield _columns.vm_state.in_(list(query.vm_states))
    if query.task_states:
        yield _columns.task_state.in_(list(query.task_states))
    if query.power_states:
        yield _columns.power_state.in_(list(query.power_states))
    if query.HasField("locked"):
        yield _columns.locked_by != 0 if query.locked else _columns.locked_by == 0


def _texts(query: ServerFilter, dialect: str) -> Iterator[ColumnElement[bool]]:
    for match in query.texts:
        text = text_of(match.field, dialect)
        if text is None:
            raise invalid(match.field, f"Servers cannot be filtered by '{match.field}'.")
        if match.kind == TextMatch.KIND_EXACT:
            yield text == match.value
        elif match.kind == TextMatch.KIND_REGEX:
            yield text.regexp_match(_regex(match.field, match.value))
        else:
            raise invalid(match.field, f"The filter on '{match.field}' does not say how to match.")
    for field, pattern, column in (
        ("ip", query.ip_v4_regex, _columns.addresses_v4),
        ("ip6", query.ip_v6_regex, _columns.addresses_v6),
    ):
        if pattern:
            yield column != ""
            yield column.regexp_match(_LINEWISE[dialect] + _regex(field, pattern))


def _regex(field: str, pattern: str) -> str:
    try:
        if not pattern or len(pattern) > _LONGEST_REGEX:
            raise ValueError
        re.compile(pattern)
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        raise invalid(field, f"'{pattern}' is not a regular expression that '{field}' can match.") from error
    return pattern


def _tags(query: ServerFilter) -> Iterator[ColumnElement[bool]]:
    if query.tags_all:
        yield _has_all(query.tags_all)
    if query.tags_any:
        yield _has_any(query.tags_any)
    if query.tags_not_all:
        yield sa.not_(_has_all(query.tags_not_all))
    if query.tags_not_any:
        yield sa.not_(_has_any(query.tags_not_any))


def _has_all(tags: Sequence[str]) -> ColumnElement[bool]:
    return sa.and_(*(_has_any([tag]) for tag in dict.fromkeys(tags)))


def _has_any(tags: Sequence[str]) -> ColumnElement[bool]:
    return (
        sa.select(sa.literal(1))
        .select_from(server_tags)
        .where(server_tags.c.server_id == _columns.id, server_tags.c.tag.in_(list(tags)))
        .correlate(servers)
        .exists()
    )
