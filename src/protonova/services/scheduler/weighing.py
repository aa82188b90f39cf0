"""Weighs the hosts that are left for one server of a request after another.

The sum of each host's weights is worked out for every server: what the last one took changes the scale on which all
hosts are put. But most qualities are not changed by servers that are placed; those are read once for all servers,
and put on their scale again only when other hosts are left.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable, Rows
from protonova.services.scheduler.weighers.weigher import Weigher, Weights


class Weighing:
    """Of one request over one table."""

    def __init__(self, weighers: Sequence[Weigher], hosts: HostTable, request: Request) -> None:
        self._hosts = hosts
        self._request = request
        self._weighers = [
            (weigher, weigher.settled(request)) for weigher in weighers if weigher.counts(hosts)
        ]
        self._raw: dict[Weigher, Weights] = {}
        self._rows: Rows | None = None
        # What settled weighers say of `_rows`; None where it makes no difference.
        self._kept: dict[Weigher, Weights | None] = {}

    def weights(self, rows: Rows) -> Weights:
        """The sum of each row's weights, in the order of the weighers."""
        total = np.zeros(len(rows))
        if len(rows) <= 1:
            return total
        if self._rows is None or not np.array_equal(rows, self._rows):
            self._rows = rows
            self._kept.clear()
        for weigher, settled in self._weighers:
            found = (
                self._once(weigher, rows) if settled else weigher.weights(self._hosts, rows, self._request)
            )
            if found is not None:
                total += found
        return total

    def _once(self, weigher: Weigher, rows: Rows) -> Weights | None:
        if weigher not in self._kept:
            if weigher not in self._raw:
                self._raw[weigher] = weigher.raw(self._hosts, self._request)
            found = weigher.scaled(self._raw[weigher], self._hosts, rows)
            self._kept[weigher] = found if found.any() else None
        return self._kept[weigher]
