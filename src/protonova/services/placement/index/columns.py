"""Arrays over provider slots: what a search over ten thousand providers looks at, one machine word each.

A slot is a small number that stands for one provider as long as the index knows it. Everything here is derived
from records; nobody but the index writes it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from protonova.services.placement.records import Inventory

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

_ABSENT = -1


class ClassColumn:
    """Inventory and usage of one resource class. `free` is the largest allocation there is room for: -1 in a slot
    without inventory, which fits nothing."""

    def __init__(self, room: int) -> None:
        self.free: Numbers = np.full(room, _ABSENT, dtype=np.int64)
        # Minimum and step by slot, once any inventory has others than 1.
        self._portions: npt.NDArray[np.int32] | None = None

    def grow(self, room: int) -> None:
        free, portions = self.free, self._portions
        self.free = np.full(room, _ABSENT, dtype=np.int64)
        self.free[: len(free)] = free
        if portions is not None:
            self._portions = np.ones((2, room), dtype=np.int32)
            self._portions[:, : len(free)] = portions

    def set(self, slot: int, inventory: Inventory, used: int) -> None:
        self.free[slot] = inventory.room(used)
        portion = (inventory.min_unit, inventory.step_size)
        if self._portions is None and portion != (1, 1):
            self._portions = np.ones((2, len(self.free)), dtype=np.int32)
        if self._portions is not None:
            self._portions[:, slot] = portion

    def clear(self, slot: int) -> None:
        self.free[slot] = _ABSENT

    def fits(self, amounts: Iterable[int]) -> Mask:
        """Where one allocation made of all these amounts, each a portion of its own, has room."""
        amounts = tuple(amounts)
        mask = self.free >= sum(amounts)
        if self._portions is not None:
            minimum, step = self._portions
            mask &= minimum <= min(amounts)
            for amount in set(amounts):
                mask &= amount % step == 0
        return mask


class TraitColumns:
    """One mask for each trait that some provider has."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._masks: dict[str, Mask] = {}

    def grow(self, room: int) -> None:
        for name, mask in self._masks.items():
            self._masks[name] = grown(mask, room)
        self._room = room

    def change(self, slot: int, before: frozenset[str], after: frozenset[str]) -> None:
        for name in before - after:
            self._masks[name][slot] = False
        for name in after - before:
            mask = self._masks.get(name)
            if mask is None:
                mask = self._masks[name] = np.zeros(self._room, dtype=np.bool_)
            mask[slot] = True

    def any_of(self, names: Iterable[str]) -> Mask:
        mask: Mask | None = None
        for name in names:
            if (having := self._masks.get(name)) is not None:
                mask = having.copy() if mask is None else mask | having
        return np.zeros(self._room, dtype=np.bool_) if mask is None else mask


class Membership:
    """Members of aggregates. Sets, not masks: a cloud may have about as many aggregates as hosts."""

    def __init__(self) -> None:
        self._members: dict[str, set[int]] = {}

    def change(self, slot: int, before: frozenset[str], after: frozenset[str]) -> None:
        for aggregate in before - after:
            members = self._members[aggregate]
            members.discard(slot)
            if not members:
                del self._members[aggregate]
        for aggregate in after - before:
            self._members.setdefault(aggregate, set()).add(slot)

    def of(self, aggregates: Iterable[str]) -> set[int]:
        found: set[int] = set()
        for aggregate in aggregates:
            found |= self._members.get(aggregate, set())
        return found


def grown(array: Mask, room: int) -> Mask:
    """The same array with more room, false in the new part."""
    more: Mask = np.zeros(room, dtype=np.bool_)
    more[: len(array)] = array
    return more


def mask_of(slots: Iterable[int], room: int) -> Mask:
    mask: Mask = np.zeros(room, dtype=np.bool_)
    chosen = list(slots)
    if chosen:
        mask[chosen] = True
    return mask
