"""Finds many hosts by their ids at once: a hash table of arrays, for looking up a hundred thousand texts one by one
would be most of what a decision costs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from protonova.services.runtime.packed_ids import PackedIds
from protonova.services.scheduler.table import Rows

_Half = npt.NDArray[np.uint64]

# Odd, and with bits set all over; whatever the ids are like, their places in the table are not alike.
_SCATTER = np.uint64(0x9E3779B97F4A7C15)
# Places in the table for each id, at least: the first one looked at is seldom another's.
_PLACES = 4


class Finder:
    """Of distinct ids, each with a number that is not negative. It does not change; 40 to 60 bytes an id."""

    def __init__(self, ids: PackedIds, numbers: Rows) -> None:
        self._numbers = numbers
        self._first, self._second = _halves(ids)
        bits = max(_PLACES * len(ids), 2).bit_length()
        self._shift = np.uint64(64 - bits)
        self._last = (1 << bits) - 1
        self._table = np.full(1 << bits, -1, dtype=np.int32)
        left = np.arange(len(ids), dtype=np.int32)
        at = self._places(self._first, self._second)
        while len(left):
            free = self._table[at] < 0
            # Where several come to one place, the last of them gets it and the others go on to the next.
            self._table[at[free]] = left[free]
            unsettled = self._table[at] != left
            left, at = left[unsettled], self._next(at[unsettled])

    def find(self, ids: PackedIds) -> Rows:
        """The number of each, -1 for those that are not here."""
        found: Rows = np.full(len(ids), -1, dtype=np.intp)
        if not len(self._numbers):
            return found
        first, second = _halves(ids)
        at = self._places(first, second)
        asked: Rows = np.arange(len(ids), dtype=np.intp)
        while len(asked):
            there = self._table[at]
            same = (self._first[there] == first) & (self._second[there] == second) & (there >= 0)
            found[asked[same]] = self._numbers[there[same]]
            left = ~same & (there >= 0)
            asked, first, second, at = asked[left], first[left], second[left], self._next(at[left])
        return found

    def _places(self, first: _Half, second: _Half) -> Rows:
        mixed = (first ^ (second * _SCATTER)) * _SCATTER
        return (mixed >> self._shift).astype(np.intp)

    def _next(self, at: Rows) -> Rows:
        return (at + 1) & self._last


def _halves(ids: PackedIds) -> tuple[_Half, _Half]:
    pairs = np.frombuffer(ids.packed, dtype=np.uint64).reshape(-1, 2)
    return np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
