"""What agents say of guests outside any operation, and what becomes of their servers.

The hypervisor owns power states; the conductor owns vm_states, which follow no guest. The power state of a server
does if and only if it is on the reporting host, nothing is being done to it, and nothing has been since the guest
was looked at: what an operation does to a guest is told by the operation, and a report that was on its way
meanwhile is of the past. Such a guest is unsettled, and its agent looks again.

Where guest and server disagree, the server is stopped (`MISMATCHES`), the guest of a softly deleted one is switched
off, and all else is left to its user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import PowerState, VmState
from protonova.conductor.v1 import host_pb2
from protonova.services.conductor.clock import to_micros
from protonova.services.conductor.moves import store as moves
from protonova.services.conductor.states import IDLE, RUNS
from protonova.services.conductor.tables import servers
from protonova.services.runtime.database import Database

_CHUNK = 500
_NO_GUEST = PowerState.POWER_STATE_UNSPECIFIED
_OFF = {PowerState.POWER_STATE_SHUTDOWN, PowerState.POWER_STATE_CRASHED}
# What a guest may not be, by the state of its server, for else it is stopped. As Nova's compute service has it.
MISMATCHES: Mapping[int, frozenset[int]] = {
    VmState.VM_STATE_ACTIVE: frozenset({*_OFF, PowerState.POWER_STATE_SUSPENDED}),
    VmState.VM_STATE_PAUSED: frozenset(_OFF),
    VmState.VM_STATE_STOPPED: frozenset({*RUNS, PowerState.POWER_STATE_SUSPENDED}),
}


@dataclass
class Taken:
    """Ids of reported guests: those that have no server on their host, and those to be looked at again."""

    unknown: list[str] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)


def take_reports(
    db: Database,
    request: host_pb2.ReportGuestsRequest,
    follow: Callable[[str, int, PowerState.ValueType], bool],
    keep_off: Callable[[str], object],
) -> Taken:
    """`follow(server_id, generation, seen)` lets a server follow its guest, and stops it where that is due; False
    when it has been changed since that generation. `keep_off` is called for servers that are deleted softly and
    whose guest runs."""
    reports = list(request.guests)
    ids = [report.server_id for report in reports]
    known, moving = db.read(lambda connection: (_known(connection, ids), _moving(connection, ids)))
    taken = Taken()
    for report in reports:
        row = known.get(report.server_id)
        if row is None or row.host != report.host:
            # Of a server on the move there may be guests on both hosts.
            if (report.server_id, report.host) not in moving:
                taken.unknown.append(report.server_id)
            continue
        seen = _NO_GUEST if report.missing else report.power_state
        if seen != row.power_state or seen in MISMATCHES.get(row.vm_state, ()):
            past = 0 < to_micros(report.observed_at) < row.updated_at
            if row.task_state != IDLE or past or not follow(row.id, row.generation, seen):
                taken.unsettled.append(report.server_id)
        if row.task_state == IDLE and row.vm_state == VmState.VM_STATE_SOFT_DELETED and seen in RUNS:
            keep_off(report.server_id)
    reported = {report.server_id for report in reports}
    looked = to_micros(request.observed_at)
    for host in request.complete_hosts:
        for row in db.read(partial(_with_guest, host=host)):
            if row.id not in reported and not 0 < looked < row.updated_at:
                follow(row.id, row.generation, _NO_GUEST)
    return taken


_COLUMNS = (
    servers.c.id,
    servers.c.host,
    servers.c.task_state,
    servers.c.power_state,
    servers.c.vm_state,
    servers.c.updated_at,
    servers.c.generation,
)


def _known(connection: Connection, server_ids: Sequence[str]) -> dict[str, Any]:
    found = {}
    for chunk in _chunks(server_ids):
        query = sa.select(*_COLUMNS).where(servers.c.id.in_(chunk), servers.c.deleted_at == 0)
        found.update({row.id: row for row in connection.execute(query)})
    return found


def _moving(connection: Connection, server_ids: Sequence[str]) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for chunk in _chunks(server_ids):
        found |= moves.hosts_under_way(connection, chunk)
    return found


def _with_guest(connection: Connection, *, host: str) -> list[Any]:
    """Servers of a host that are idle and believed to have a guest."""
    return list(
        connection.execute(
            sa.select(*_COLUMNS).where(
                servers.c.host == host,
                servers.c.deleted_at == 0,
                servers.c.task_state == IDLE,
                servers.c.power_state != _NO_GUEST,
            )
        )
    )


def _chunks(values: Sequence[str]) -> Iterable[Sequence[str]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]
