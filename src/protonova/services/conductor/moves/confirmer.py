"""Confirms resized servers whose owners have not said anything for `resize_confirm_window` seconds.

It acts on a server if and only if its migration has been finished for so long by the database's clock; at most a
hundred a pass. Any number of replicas may look at once: of two that find the same server one begins, and the other
is told that there is nothing to confirm any more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from protonova.services.conductor.cell import Cell
from protonova.services.conductor.moves import store
from protonova.services.runtime import errors

_log = logging.getLogger("protonova.conductor.moves")
_MOST = 100


def confirm_due(cell: Cell, confirm: Callable[[str], None]) -> list[str]:
    """Returns the servers whose confirmation was begun; `confirm` begins one."""
    window = int(cell.conf.resize_confirm_window)
    begun = []
    for server_id in cell.db.read(
        lambda connection: store.waiting_to_be_confirmed(connection, window, _MOST)
    ):
        try:
            confirm(server_id)
        except errors.Error as error:
            _log.info("Server %s is not confirmed yet: %s", server_id, error)
        else:
            begun.append(server_id)
    return begun
