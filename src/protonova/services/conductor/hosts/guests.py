"""What agents say of guests outside any operation, and what becomes of their servers.

The hypervisor owns power states; the conductor owns vm_states. A server follows its guest if and only if it is on
the reporting host and nothing is being done to it: what an operation does to a guest is told by the operation.
Reports come again and again, so one that came at the wrong moment is made good by the next.

One state leads instead of following: the guest of a softly deleted server is switched off whenever it is seen to
run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import PowerState, Server, VmState
from protonova.conductor.v1 import host_pb2
from protonova.services.conductor.moves import store as moves
from protonova.services.conductor.servers.store import Servers
from protonova.services.conductor.states import IDLE, power_state_name, vm_state_name
from protonova.services.conductor.tables import servers
from protonova.services.runtime.database import Database

_log = logging.getLogger("protonova.conductor.guests")

_CHUNK = 500
_NO_GUEST = PowerState.POWER_STATE_UNSPECIFIED
_UNKNOWN = ("", IDLE, _NO_GUEST, VmState.VM_STATE_UNSPECIFIED)
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


def take_reports(
    db: Database,
    store: Servers,
    request: host_pb2.ReportGuestsRequest,
    keep_off: Callable[[str], object] = lambda _: None,
) -> list[str]:
    """Lets servers follow their guests; returns the ids of guests that have no server on their host. `keep_off` is
    called for servers whose guest should not run, and does."""
    reports = list(request.guests)
    ids = [report.server_id for report in reports]
    known, moving = db.read(lambda connection: (_known(connection, ids), _moving(connection, ids)))
    unknown = []
    for report in reports:
        host, task_state, power_state, vm_state = known.get(report.server_id, _UNKNOWN)
        if host != report.host:
            # Of a server on the move there may be guests on both hosts.
            if (report.server_id, report.host) not in moving:
                unknown.append(report.server_id)
            continue
        seen = _NO_GUEST if report.missing else report.power_state
        if task_state == IDLE and seen != power_state:
            _follow(db, store, report.server_id, report.host, seen)
        if task_state == IDLE and vm_state == VmState.VM_STATE_SOFT_DELETED and seen in _RUNS:
            keep_off(report.server_id)
    reported = {report.server_id for report in reports}
    for host in request.complete_hosts:
        for server_id in db.read(partial(_with_guest, host=host)):
            if server_id not in reported:
                _follow(db, store, server_id, host, _NO_GUEST)
    return unknown


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


def _follow(db: Database, store: Servers, server_id: str, host: str, seen: PowerState.ValueType) -> None:
    before = VmState.VM_STATE_UNSPECIFIED

    def alter(server: Server) -> None:
        nonlocal before
        before = server.vm_state
        if server.host == host:
            follow(server, seen)

    def change(connection: Connection) -> Server | None:
        if not store.existing(connection, [server_id], living=True):
            return None
        return store.change(connection, server_id, alter)

    server = db.write(change)
    if server is not None:
        _log.info(
            "Guest of server %s on %s is %s; its state: %s, before: %s",
            server_id,
            host,
            "missing" if seen == _NO_GUEST else power_state_name(seen),
            vm_state_name(server.vm_state),
            vm_state_name(before),
        )


def _known(connection: Connection, server_ids: Sequence[str]) -> dict[str, tuple[str, int, int, int]]:
    found = {}
    for chunk in _chunks(server_ids):
        rows = connection.execute(
            sa.select(
                servers.c.id,
                servers.c.host,
                servers.c.task_state,
                servers.c.power_state,
                servers.c.vm_state,
            ).where(servers.c.id.in_(chunk), servers.c.deleted_at == 0)
        )
        found.update({row.id: (row.host, row.task_state, row.power_state, row.vm_state) for row in rows})
    return found


def _moving(connection: Connection, server_ids: Sequence[str]) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for chunk in _chunks(server_ids):
        found |= moves.hosts_under_way(connection, chunk)
    return found


def _with_guest(connection: Connection, *, host: str) -> list[str]:
    """Servers of a host that are idle and believed to have a guest."""
    return list(
        connection.scalars(
            sa.select(servers.c.id).where(
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
