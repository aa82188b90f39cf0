"""What agents say of guests outside any operation, and what becomes of their servers.

The hypervisor owns power states; the conductor owns vm_states. A server follows its guest if and only if it is on
the reporting host, nothing is being done to it, and nothing has been since the guest was looked at: what an
operation does to a guest is told by the operation, and a report that was on its way meanwhile is of the past. Such
a guest is unsettled, and its agent looks again.

One state leads instead of following: the guest of a softly deleted server is switched off whenever it is seen to
run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import PowerState, Server, VmState
from protonova.conductor.v1 import host_pb2
from protonova.services.conductor.clock import to_micros
from protonova.services.conductor.moves import store as moves
from protonova.services.conductor.servers.store import Servers
from protonova.services.conductor.states import IDLE, power_state_name, vm_state_name
from protonova.services.conductor.tables import servers
from protonova.services.runtime.database import Database

_log = logging.getLogger("protonova.conductor.guests")

_CHUNK = 500
_NO_GUEST = PowerState.POWER_STATE_UNSPECIFIED
_RUNS = (PowerState.POWER_STATE_RUNNING, PowerState.POWER_STATE_PAUSED)
_OFF = {PowerState.POWER_STATE_SHUTDOWN, PowerState.POWER_STATE_CRASHED}
# Only these follow their guests; in any other state the server says what its guest should be.
_FOLLOWS = {
    VmState.VM_STATE_ACTIVE,
    VmState.VM_STATE_STOPPED,
    VmState.VM_STATE_PAUSED,
    VmState.VM_STATE_SUSPENDED,
}
_STATE_OF = {
    PowerState.POWER_STATE_RUNNING: VmState.VM_STATE_ACTIVE,
    PowerState.POWER_STATE_PAUSED: VmState.VM_STATE_PAUSED,
    PowerState.POWER_STATE_SUSPENDED: VmState.VM_STATE_SUSPENDED,
    PowerState.POWER_STATE_SHUTDOWN: VmState.VM_STATE_STOPPED,
    PowerState.POWER_STATE_CRASHED: VmState.VM_STATE_STOPPED,
}


@dataclass
class Taken:
    """Ids of reported guests: those that have no server on their host, and those to be looked at again."""

    unknown: list[str] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)


def take_reports(
    db: Database,
    store: Servers,
    request: host_pb2.ReportGuestsRequest,
    keep_off: Callable[[str], object] = lambda _: None,
) -> Taken:
    """Lets servers follow their guests. `keep_off` is called for servers whose guest should not run, and does."""
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
        if seen != row.power_state:
            past = 0 < to_micros(report.observed_at) < row.updated_at
            if row.task_state != IDLE or past or not _follow(db, store, row, seen):
                taken.unsettled.append(report.server_id)
        if row.task_state == IDLE and row.vm_state == VmState.VM_STATE_SOFT_DELETED and seen in _RUNS:
            keep_off(report.server_id)
    reported = {report.server_id for report in reports}
    looked = to_micros(request.observed_at)
    for host in request.complete_hosts:
        for row in db.read(partial(_with_guest, host=host)):
            if row.id not in reported and not 0 < looked < row.updated_at:
                _follow(db, store, row, _NO_GUEST)
    return taken


def follow(server: Server, seen: PowerState.ValueType) -> bool:
    """Makes a server say what its guest is; False when there was nothing to say."""
    if server.task_state != IDLE or server.power_state == seen:
        return False
    server.power_state = seen
    state = _STATE_OF.get(seen)
    # A guest that is gone may come back (a restored host): the server keeps its state, and its user decides.
    if state is not None and server.vm_state in _FOLLOWS:
        server.vm_state = state
    return True


def _follow(db: Database, store: Servers, row: Any, seen: PowerState.ValueType) -> bool:
    """False when the server has been changed since it was read."""
    before = VmState.VM_STATE_UNSPECIFIED
    still = False

    def alter(server: Server) -> None:
        nonlocal before, still
        before, still = server.vm_state, server.generation == row.generation
        if still:
            follow(server, seen)

    def change(connection: Connection) -> Server | None:
        if not store.existing(connection, [row.id], living=True):
            return None
        return store.change(connection, row.id, alter)

    server = db.write(change)
    if server is None or not still:
        return server is None
    _log.info(
        "Guest of server %s on %s is %s; its state: %s, before: %s",
        row.id,
        row.host,
        "missing" if seen == _NO_GUEST else power_state_name(seen),
        vm_state_name(server.vm_state),
        vm_state_name(before),
    )
    return True


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
