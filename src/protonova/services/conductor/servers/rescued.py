"""Rescued servers whose owners have left them so for longer than `rescue_timeout`.

One goes back if and only if it is RESCUED with nothing under way and was rescued that many seconds ago or longer
by the database's clock. That is looked at again in the transaction that begins it, so any number of replicas may
look at once, and a server that was rescued anew meanwhile stays as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import Server, VmState
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.clock import to_micros
from protonova.services.conductor.states import IDLE
from protonova.services.conductor.tables import servers
from protonova.services.runtime import errors
from protonova.services.runtime.database import now

_log = logging.getLogger("protonova.conductor.servers")
# At most so many a pass; the next one goes on.
_MOST = 100


def bring_back(cell: Cell, begin: Callable[[str, Callable[[Server], None]], object]) -> int:
    """How many began to go back; `begin` is given what refuses a server that is not due any more."""
    timeout = int(cell.conf.rescue_timeout)

    def check(server: Server) -> None:
        # `updated_at` is now.
        if not _is_due(server, to_micros(server.updated_at), timeout):
            raise errors.FailedPrecondition(
                f"Server {server.id} was rescued anew.", reason="SERVER_STATE", server_id=server.id
            )

    begun = 0
    for server_id in cell.db.read(lambda connection: _due(cell, connection, timeout)):
        try:
            begin(server_id, check)
        except errors.Error as error:
            _log.info("Server %s stays rescued: %s", server_id, error)
        else:
            begun += 1
    return begun


def _is_due(server: Server, moment: int, timeout: int) -> bool:
    return to_micros(server.rescued_at) + timeout * 1_000_000 <= moment


def _due(cell: Cell, connection: Connection, timeout: int) -> list[str]:
    moment = int(connection.scalar(sa.select(now())) or 0)
    rows = connection.execute(
        sa.select(servers.c.number, servers.c.record).where(
            servers.c.vm_state == VmState.VM_STATE_RESCUED,
            servers.c.task_state == IDLE,
            servers.c.deleted_at == 0,
        )
    )
    found = (cell.servers.parse(*row) for row in rows)
    return [server.id for server in found if _is_due(server, moment, timeout)][:_MOST]
