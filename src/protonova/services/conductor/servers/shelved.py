"""Shelved servers whose time on their host is over.

One leaves if and only if it is SHELVED with nothing under way and was shelved `shelved_offload_time` seconds ago or
longer by the database's clock. Each begins by compare-and-set, so any number of replicas may look at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import VmState
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.clock import to_micros
from protonova.services.conductor.states import IDLE
from protonova.services.conductor.tables import servers
from protonova.services.runtime import errors
from protonova.services.runtime.database import now

_log = logging.getLogger("protonova.conductor.servers")
# At most so many a pass; the next one goes on.
_MOST = 100


def offload(cell: Cell, begin: Callable[[str], object]) -> int:
    """How many were told to leave."""
    begun = 0
    for server_id in cell.db.read(lambda connection: _due(cell, connection)):
        try:
            begin(server_id)
        except errors.Error as error:
            _log.info("Shelved server %s stays on its host: %s", server_id, error)
        else:
            begun += 1
    return begun


def _due(cell: Cell, connection: Connection) -> list[str]:
    before = int(connection.scalar(sa.select(now())) or 0) - cell.conf.shelved_offload_time * 1_000_000
    rows = connection.execute(
        sa.select(servers.c.number, servers.c.record).where(
            servers.c.vm_state == VmState.VM_STATE_SHELVED,
            servers.c.task_state == IDLE,
            servers.c.deleted_at == 0,
        )
    )
    found = (cell.servers.parse(*row) for row in rows)
    return [server.id for server in found if to_micros(server.shelved_at) <= before][:_MOST]
