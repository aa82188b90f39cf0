"""Network info that has grown old: what records say of ports, compared with what the network service says.

The network service tells of every change by an event; an event can get lost. Each pass looks at the next so many
servers, round and round, and has a server's info read anew if and only if it differs. A port that the network
service does not show is left alone: absence is no event.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import Server
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations.addresses import as_told
from protonova.services.conductor.states import IDLE
from protonova.services.conductor.tables import servers
from protonova.services.runtime import errors

_log = logging.getLogger("protonova.conductor.servers")
# In one pass.
_MOST = 50


class Healer:
    """`begin(server_id)` begins to read a server's network info anew."""

    def __init__(self, cell: Cell, begin: Callable[[str], object]) -> None:
        self._cell = cell
        self._begin = begin
        # The number of the server that was looked at last.
        self._last = 0

    def heal(self) -> int:
        """One pass; how many servers are read anew. Raises transient errors of the network service."""
        begun = 0
        found = self._cell.db.read(self._next)
        for number, server in found:
            self._last = number
            if not server.interfaces or not self._is_old(server):
                continue
            _log.info("The network info of server %s is old: it is read anew", server.id)
            try:
                self._begin(server.id)
            except (errors.NotFound, errors.FailedPrecondition):
                continue
            begun += 1
        if len(found) < _MOST:
            self._last = 0
        return begun

    def _is_old(self, server: Server) -> bool:
        told = as_told(self._cell, server)
        if told.groups != list(server.security_groups):
            return True
        return any(
            interface.port_id in told.interfaces and told.interfaces[interface.port_id] != interface
            for interface in server.interfaces
        )

    def _next(self, connection: Connection) -> list[tuple[int, Server]]:
        rows = connection.execute(
            sa.select(servers.c.number, servers.c.record)
            .where(
                servers.c.number > self._last,
                servers.c.deleted_at == 0,
                servers.c.task_state == IDLE,
                servers.c.host != "",
            )
            .order_by(servers.c.number)
            .limit(_MOST)
        )
        return [(row.number, self._cell.servers.parse(*row)) for row in rows]
