"""What servers that are deleted softly count for: nothing, until they are restored.

Whether a server counts is a mark on its mapping, changed by compare-and-set in the transaction that changes the
counters: however often its cell tells, it is counted once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select, update

from protonova.services.api import mappings, tables, usage
from protonova.services.api.limits import Limits

_mappings = tables.instance_mappings


def charge(connection: Connection, limits: Limits, server_id: str, *, beyond_limits: bool = False) -> None:
    """The server counts again. Raises QUOTA_EXCEEDED, SERVER_NOT_FOUND."""
    row = _row(connection, server_id)
    if not _mark(connection, server_id, uncharged=False):
        return
    for user_id, own in _owners(connection, limits, row):
        most = dict.fromkeys(own, -1) if beyond_limits else own
        usage.charge(connection, row.project_id, user_id, _amounts(row), most)


def give_back(connection: Connection, server_id: str) -> None:
    """The server counts no more. Raises SERVER_NOT_FOUND."""
    row = _row(connection, server_id)
    if _mark(connection, server_id, uncharged=True):
        amounts = {**dict.fromkeys(usage.COUNTED, 0), **_amounts(row)}
        usage.give_back(connection, {(row.project_id, row.user_id): amounts})


def check(connection: Connection, limits: Limits, server_id: str) -> None:
    """Whether the server could count again now. Raises QUOTA_EXCEEDED, SERVER_NOT_FOUND."""
    row = _row(connection, server_id)
    if not row.uncharged:
        return
    for user_id, own in _owners(connection, limits, row):
        used = usage.read(connection, row.project_id, user_id)
        for resource, amount in _amounts(row).items():
            if amount and 0 <= own[resource] < used[resource] + amount:
                raise usage.exceeded(resource, own[resource], used[resource], amount, user_id)


def _row(connection: Connection, server_id: str) -> Any:
    row = connection.execute(
        select(
            _mappings.c.project_id,
            _mappings.c.user_id,
            _mappings.c.vcpus,
            _mappings.c.memory_mb,
            _mappings.c.uncharged,
        ).where(_mappings.c.id == server_id, _mappings.c.deleted_at.is_(None))
    ).first()
    if row is None:
        raise mappings.not_found(server_id)
    return row


def _mark(connection: Connection, server_id: str, *, uncharged: bool) -> bool:
    """False when it was marked so before."""
    marked = connection.execute(
        update(_mappings)
        .where(
            _mappings.c.id == server_id,
            _mappings.c.deleted_at.is_(None),
            _mappings.c.uncharged.is_(not uncharged),
        )
        .values(uncharged=uncharged)
    )
    return marked.rowcount == 1


def _amounts(row: Any) -> dict[str, int]:
    return usage.per_server(row.vcpus, row.memory_mb)


def _owners(connection: Connection, limits: Limits, row: Any) -> list[tuple[str, Mapping[str, int]]]:
    """The project as a whole, then the user within it."""
    project, user = limits.of(connection, row.project_id, row.user_id)
    return [("", project), *([(row.user_id, user)] if row.user_id else [])]
