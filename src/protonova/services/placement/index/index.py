"""What placement's own process knows of all providers, so that candidates need no query.

The database owns every fact here; the index is a copy that the feed of providers keeps current (own writes at once,
those of other replicas a moment later) and that is built anew at each start. A stale index may only cost a retry:
a claim is checked by the database against capacity, never against the index, so over-commit cannot come from
here. Records are immutable and replaced whole; one lock, held for microseconds, guards the maps and arrays.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from protonova.services.placement.index.columns import (
    ClassColumn,
    Mask,
    Membership,
    TraitColumns,
    grown,
    mask_of,
)
from protonova.services.placement.query import Conditions
from protonova.services.placement.records import ProviderRecord

_FIRST_ROOM = 64
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class UsageChange:
    """What a committed write made of a provider's usage. `used` holds the classes it touched."""

    provider_id: str
    used: Mapping[str, int]
    incarnation: int
    version: int
    generation: int


@dataclass(frozen=True, slots=True)
class TreeView:
    """A tree as it was at one moment, with the providers of other trees that share with it."""

    root: ProviderRecord
    providers: tuple[ProviderRecord, ...]
    sharing: tuple[ProviderRecord, ...] = field(default=())
    # Of all of them, and of whatever is above the sharing ones.
    parents: Mapping[str, str] = field(default_factory=dict)


class Index:
    """All providers, by id and by slot."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._room = _FIRST_ROOM
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        self._records: list[ProviderRecord | None] = [None] * self._room
        self._next = 0
        self._classes: dict[str, ClassColumn] = {}
        self._traits = TraitColumns(self._room)
        self._aggregates = Membership()
        # Providers below a root; a root that stands alone has no entry.
        self._below: dict[str, set[str]] = {}
        self._is_root: Mask = np.zeros(self._room, dtype=np.bool_)
        self._alone: Mask = np.zeros(self._room, dtype=np.bool_)
        self._root_slot: npt.NDArray[np.int64] = np.zeros(self._room, dtype=np.int64)
        self._sharing: dict[str, set[int]] = {}
        self._reach: Mask | None = None

    def __len__(self) -> int:
        return len(self._slots)

    # Keeping it current.

    def apply(self, record: ProviderRecord) -> bool:
        """Takes a record over unless a newer one is known. Tells whether it did."""
        with self.lock:
            slot = self._slots.get(record.id)
            before = None if slot is None else self._records[slot]
            if before is not None and before.order > record.order:
                return False
            if slot is None:
                slot = self._take_slot(record.id)
            self._replace(slot, before, record)
            return True

    def remove(self, provider_id: str) -> None:
        with self.lock:
            slot = self._slots.get(provider_id)
            if slot is None:
                return
            before = self._records[slot]
            if before is not None:
                self._replace(slot, before, None)
            del self._slots[provider_id]
            self._free.append(slot)

    def adopt(self, changes: Iterable[UsageChange]) -> list[str]:
        """Takes over what own writes made of usages; answers the providers that must be read anew for it."""
        missed = []
        with self.lock:
            for change in changes:
                slot = self._slots.get(change.provider_id)
                before = None if slot is None else self._records[slot]
                if slot is None or before is None or before.order != (change.incarnation, change.version - 1):
                    if before is None or before.order < (change.incarnation, change.version):
                        missed.append(change.provider_id)
                    continue
                self._records[slot] = before.with_usage(change.used, change.version, change.generation)
                for name, used in change.used.items():
                    if (inventory := before.inventories.get(name)) is not None:
                        self._classes[name].set(slot, inventory, used)
        return missed

    # Reading it.

    def get(self, provider_id: str) -> ProviderRecord | None:
        with self.lock:
            slot = self._slots.get(provider_id)
            return None if slot is None else self._records[slot]

    def ids(self) -> list[str]:
        with self.lock:
            return list(self._slots)

    def records(self) -> list[ProviderRecord]:
        with self.lock:
            return [record for record in self._records if record is not None]

    def tree(self, root_id: str) -> list[ProviderRecord]:
        """All providers of a tree, in no particular order."""
        with self.lock:
            members = (root_id, *self._below.get(root_id, ()))
            return [record for member in members if (record := self.get(member)) and record.root == root_id]

    def view(self, root_id: str, *, nested: bool) -> TreeView | None:
        """A tree with all that may serve it; without `nested`, only the roots of trees count."""
        with self.lock:
            root = self.get(root_id)
            if root is None or root.root != root_id:
                return None
            members = self.tree(root_id) if nested else [root]
            aggregates = frozenset().union(*(member.aggregates for member in members))
            slots: set[int] = set()
            for aggregate in aggregates:
                slots |= self._sharing.get(aggregate, set())
            sharing = [
                record
                for slot in sorted(slots)
                if (record := self._records[slot]) is not None
                and record.root != root_id
                and (nested or record.is_root)
            ]
            parents = {member.id: member.parent for member in members}
            for shared in sharing:
                above: ProviderRecord | None = shared
                while above is not None and above.id not in parents:
                    parents[above.id] = above.parent
                    above = self.get(above.parent)
            return TreeView(root, tuple(members), tuple(sharing), parents)

    def record_at(self, slot: int) -> ProviderRecord:
        record = self._records[slot]
        assert record is not None
        return record

    # Masks over slots; the caller holds the lock while it uses them.

    def single(self, *, nested: bool) -> Mask:
        """Roots that only they themselves can serve: no children (that count), nothing shared with them."""
        alone = self._alone if nested else self._is_root
        return alone & ~self._reached()

    def compound_roots(self, *, nested: bool) -> Mask:
        """The other roots: those of trees and of whom something is shared with."""
        return self._is_root & ~self.single(nested=nested)

    def roots_fitting(self, name: str, amounts: Iterable[int]) -> Mask:
        """Roots of trees in which, or in a provider sharing with which, this might fit."""
        roots: Mask = np.zeros(self._room, dtype=np.bool_)
        fitting = self.fits(name, amounts)
        roots[self._root_slot[fitting]] = True
        for aggregate, slots in self._sharing.items():
            if any(fitting[slot] for slot in slots):
                roots[self._root_slot[list(self._aggregates.of((aggregate,)))]] = True
        return roots

    def roots_with_room(self, name: str, amounts: Sequence[int]) -> Mask:
        """Roots of trees that have room for all of these amounts together, as far as sums and counts tell; with
        whom something is shared always."""
        column = self._classes.get(name)
        if column is None:
            return np.zeros(self._room, dtype=np.bool_)
        smallest = min(amounts)
        each = np.where(column.free >= smallest, np.minimum(column.free, sum(amounts)), 0)
        room = np.bincount(self._root_slot, weights=each, minlength=self._room)
        count = np.bincount(self._root_slot, weights=each // smallest, minlength=self._room)
        enough: Mask = (room >= sum(amounts)) & (count >= len(amounts))
        return enough | self._reached()

    def fits(self, name: str, amounts: Iterable[int]) -> Mask:
        column = self._classes.get(name)
        return np.zeros(self._room, dtype=np.bool_) if column is None else column.fits(amounts)

    def allowed(self, conditions: Conditions) -> Mask | None:
        """Providers that meet the conditions themselves; None = all do."""
        mask: Mask | None = None
        for traits in conditions.required:
            mask = both(mask, self._traits.any_of(traits))
        if conditions.forbidden:
            mask = both(mask, ~self._traits.any_of(conditions.forbidden))
        for aggregates in conditions.member_of:
            mask = both(mask, mask_of(self._aggregates.of(aggregates), self._room))
        if conditions.forbidden_aggregates:
            members = self._aggregates.of(conditions.forbidden_aggregates)
            mask = both(mask, ~mask_of(members, self._room))
        return mask

    def in_tree(self, provider_id: str) -> Mask:
        """The root of the tree that holds a provider."""
        record = self.get(provider_id)
        root = None if record is None else self._slots.get(record.root)
        return mask_of(() if root is None else (root,), self._room)

    # Inside.

    def _reached(self) -> Mask:
        if self._reach is None:
            self._reach = mask_of(self._aggregates.of(self._sharing), self._room)
        return self._reach

    def _take_slot(self, provider_id: str) -> int:
        if self._free:
            slot = self._free.pop()
        else:
            slot, self._next = self._next, self._next + 1
            if slot >= self._room:
                self._grow(self._room * 2)
        self._slots[provider_id] = slot
        return slot

    def _grow(self, room: int) -> None:
        self._records += [None] * (room - self._room)
        for column in self._classes.values():
            column.grow(room)
        self._traits.grow(room)
        self._is_root = grown(self._is_root, room)
        self._alone = grown(self._alone, room)
        roots = np.zeros(room, dtype=np.int64)
        roots[: self._room] = self._root_slot
        self._root_slot = roots
        self._room, self._reach = room, None

    def _replace(self, slot: int, before: ProviderRecord | None, after: ProviderRecord | None) -> None:
        self._records[slot] = after
        for name in before.inventories if before else ():
            if after is None or name not in after.inventories:
                self._classes[name].clear(slot)
        if after:
            for name, inventory in after.inventories.items():
                if (column := self._classes.get(name)) is None:
                    column = self._classes[name] = ClassColumn(self._room)
                column.set(slot, inventory, after.used.get(name, 0))
        traits = (before.traits if before else _NOTHING, after.traits if after else _NOTHING)
        if traits[0] != traits[1]:
            self._traits.change(slot, *traits)
        members = (before.aggregates if before else _NOTHING, after.aggregates if after else _NOTHING)
        if members[0] != members[1]:
            self._aggregates.change(slot, *members)
            self._reach = None
        self._replace_sharing(slot, before, after)
        self._replace_in_tree(slot, before, after)

    def _replace_sharing(
        self, slot: int, before: ProviderRecord | None, after: ProviderRecord | None
    ) -> None:
        was = before.aggregates if before and before.shares else _NOTHING
        now = after.aggregates if after and after.shares else _NOTHING
        for aggregate in was - now:
            self._sharing[aggregate].discard(slot)
            if not self._sharing[aggregate]:
                del self._sharing[aggregate]
        for aggregate in now - was:
            self._sharing.setdefault(aggregate, set()).add(slot)
        if was != now:
            self._reach = None

    def _replace_in_tree(
        self, slot: int, before: ProviderRecord | None, after: ProviderRecord | None
    ) -> None:
        if before and after and before.root == after.root and before.parent == after.parent:
            return
        if before:
            self._leave_tree(slot, before)
        if after:
            self._join_tree(slot, after)

    def _join_tree(self, slot: int, record: ProviderRecord) -> None:
        self._root_slot[slot] = slot
        if record.is_root:
            below = self._below.get(record.id, ())
            self._is_root[slot] = True
            self._alone[slot] = not below
            for member in below:  # they may be known earlier than their root
                self._root_slot[self._slots[member]] = slot
            return
        self._below.setdefault(record.root, set()).add(record.id)
        if (root := self._slots.get(record.root)) is not None:
            self._root_slot[slot] = root
            self._alone[root] = False

    def _leave_tree(self, slot: int, record: ProviderRecord) -> None:
        if record.is_root:
            self._is_root[slot] = self._alone[slot] = False
            for member in self._below.get(record.id, ()):
                self._root_slot[self._slots[member]] = self._slots[member]
            return
        below = self._below[record.root]
        below.discard(record.id)
        if not below:
            del self._below[record.root]
            if (root := self._slots.get(record.root)) is not None:
                self._alone[root] = self._is_root[root]


def both(first: Mask | None, second: Mask) -> Mask:
    """Where both hold; no first mask = everywhere."""
    return second if first is None else first & second
