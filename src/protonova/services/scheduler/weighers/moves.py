"""Where a server comes from."""

from __future__ import annotations

import numpy as np

from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable
from protonova.services.scheduler.weighers.weigher import Weigher, Weights


class CrossCellWeigher(Weigher):
    """A move that may leave its cell prefers hosts of the cell the server is in."""

    name = "CrossCellWeigher"
    option = "cross_cell_move_weight_multiplier"

    def settled(self, request: Request) -> bool:
        return True

    def raw(self, hosts: HostTable, request: Request) -> Weights:
        source = request.spec.source_cell_id
        if not source:
            return np.zeros(len(hosts))
        return np.where(hosts.cell == hosts.code(source), 1.0, -1.0)
