"""The end of servers that were deleted softly, some time after.

A server is reclaimed if and only if it is SOFT_DELETED with nothing under way and its `soft_deleted_at` is older
than `reclaim_instance_interval` by the database's clock. Each deletion begins by compare-and-set, so any number of
replicas may look at once; what is found and not begun any more was restored, or another replica's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import Server, VmState
from protonova.services.conductor.clock import to_micros
from protonova.services.conductor.servers.store import Servers
from protonova.services.conductor.states import IDLE
from protonova.services.conductor.tables import servers
from protonova.services.runtime import errors
from protonova.services.runtime.database import Database, now

_log = logging.getLogger("protonova.conductor.reclaim")

# At most so many in one pass; the next one goes on.
_MOST = 500
_SOFTLY = VmState.VM_STATE_SOFT_DELETED


def is_due(server: Server, moment: int, interval: int) -> bool:
    """`moment` in microseconds since the epoch, `interval` in seconds."""
    softly = server.vm_state == _SOFTLY and server.task_state == IDLE and server.HasField("soft_deleted_at")
    return softly and to_micros(server.soft_deleted_at) + interval * 1_000_000 <= moment


@dataclass(frozen=True)
class Reclaimer:
    """`begin(server_id)` begins the deletion of a server if it still is due, and says whether it did."""

    db: Database
    store: Servers
    interval: int
    begin: Callable[[str], bool]

    def reclaim(self) -> list[str]:
        """One pass; the ids of the servers whose deletion it began. Nothing where deletions are not soft."""
        if self.interval <= 0:
            return []
        begun = []
        for server_id in self.db.read(self._due):
            try:
                if self.begin(server_id):
                    begun.append(server_id)
            except errors.NotFound:
                continue
        if begun:
            _log.info("%d softly deleted servers are reclaimed", len(begun))
        return begun

    def _due(self, connection: Connection) -> list[str]:
        moment = int(connection.scalar(sa.select(now())) or 0)
        rows = connection.execute(
            sa.select(servers.c.number, servers.c.record).where(
                servers.c.vm_state == _SOFTLY, servers.c.deleted_at == 0, servers.c.task_state == IDLE
            )
        )
        found = (self.store.parse(*row) for row in rows)
        return [server.id for server in found if is_due(server, moment, self.interval)][:_MOST]
