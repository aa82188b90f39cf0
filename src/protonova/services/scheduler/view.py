"""The hosts as the scheduler sees them: what the cells' conductors and placement tell, in memory.

Conductors own the hosts, placement the resources; the view is rebuilt from their feeds at each start and is at most
a moment behind. It only ranks and sorts out: what a server gets is decided by a claim in placement. Own claims are
counted at once, so that the next decision knows of them before the feeds do.

Aggregates belong to api; the view keeps their index, and the zone each host is in by it: that of its aggregate, or
where none says anything the one its agent declares.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from protonova.services.runtime.packed_ids import PackedIds
from protonova.services.scheduler import devices
from protonova.services.scheduler.aggregates import Aggregate, Aggregates
from protonova.services.scheduler.ahead import DeviceClaims
from protonova.services.scheduler.devices import Wanted
from protonova.services.scheduler.finder import Finder
from protonova.services.scheduler.hosts import NO_LOAD, NONE, HostKind, HostLoad, HostRecord
from protonova.services.scheduler.table import (
    FREE_COLUMNS,
    TAKEN_COLUMNS,
    HostTable,
    Mask,
    Numbers,
    Objects,
    Rows,
)

__all__ = ["HostRecord", "HostTable", "HostView", "Mask", "Numbers", "ProviderFree"]

_TAKEN = tuple(dict.fromkeys(TAKEN_COLUMNS.values()))
_CODES = ("cell", "zone", "kind", "aggregate_set")
_NUMBERS = (
    "hypervisor_version",
    "num_instances",
    "io_ops",
    "failed_builds",
    "vcpus",
    "memory_mb",
    "local_gb",
    *FREE_COLUMNS.values(),
    *_TAKEN,
)
# Few hosts have any.
_SMALL_NUMBERS = ("free_devices",)
# A host is in the slot; its zone is that of an aggregate; the others are those of a table.
_FLAGS = ("there", "zoned", "usable", "serving")
_OBJECTS = ("records", "loads")
_FIRST_ROOM = 64
# For how long after placement told of a node its conductor may be the slower one to tell.
_NEWCOMER_SECONDS = 10.0
# For how long a server counts by its claim until its conductor tells of it.
_AHEAD_SECONDS = 2.0
# Longer than any decision lasts.
_REST_SECONDS = 60.0


@dataclass(slots=True)
class ProviderFree:
    """What is free on one provider, by class; and what is reserved or allocated, in the order of `_TAKEN`."""

    root_id: str
    free: Mapping[str, int]
    taken: tuple[int, ...]
    heard_at: float


class HostView:
    """All hosts. One lock, held for moments, guards maps and arrays."""

    def __init__(self) -> None:
        self.aggregates = Aggregates()
        self._lock = threading.RLock()
        self._host_came = threading.Condition(self._lock)
        self._room = _FIRST_ROOM
        self._slots: dict[str, int] = {}
        # Finds many of them at once; made when it is needed, after hosts have come or gone.
        self._finder: Finder | None = None
        self._slots_by_host: dict[str, tuple[int, ...]] = {}
        # Slots of hosts that have gone, and since when: decisions that began before may still look there.
        self._unused: deque[tuple[float, int]] = deque()
        self._next = 0
        # Made at once and so side by side in memory, where a look at all of them finds them sooner.
        self._numbers = list(range(self._room))
        self._columns: dict[str, npt.NDArray[Any]] = {
            **{name: np.zeros(self._room, dtype=np.int32) for name in _CODES},
            **{name: np.zeros(self._room, dtype=np.int64) for name in _NUMBERS},
            **{name: np.zeros(self._room, dtype=np.int32) for name in _SMALL_NUMBERS},
            **{name: np.zeros(self._room, dtype=np.bool_) for name in _FLAGS},
            **{name: np.full(self._room, None, dtype=np.object_) for name in _OBJECTS},
        }
        self._records: Objects = self._columns["records"]
        self._codes: dict[str, int] = {}
        self._kinds: dict[HostKind, int] = {}
        self._kind_list: list[HostKind] = []
        self._providers: dict[str, ProviderFree] = {}
        # Of roots that have any: the providers below them.
        self._below: dict[str, set[str]] = {}
        self._unusable_cells: set[str] = set()
        # The aggregates by which zones and sets were worked out last.
        self._zoned_by = self.aggregates.current
        self._metadata_keys: frozenset[str] = frozenset()
        self._sets: dict[tuple[str, ...], int] = {(): 0}
        self._set_list: list[tuple[Aggregate, ...]] = [()]
        self._declared: dict[str, str] = {}
        # Servers claimed for whose conductors have yet to tell of: by node, and when they cease to count.
        self._ahead: dict[str, int] = {}
        self._ahead_until: deque[tuple[float, str]] = deque()
        # PCI devices by node, of those that have some for guests: a HostDevices as it travels.
        self._devices: dict[str, bytes] = {}
        self._claims = DeviceClaims()
        self._news = 0
        self._topology_news: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._slots)

    # What the feeds tell.

    def put_host(self, record: HostRecord, told: bytes = b"", holders: Iterable[str] = ()) -> None:
        """`told`: its PCI devices for guests; `holders`: servers whose guests have been given some."""
        with self._lock:
            slot = self._slots.get(record.node_id)
            before = None if slot is None else self._records[slot]
            if slot is None:
                slot = self._slots[record.node_id] = self._take_slot()
                self._finder = None
                self._columns["loads"][slot] = NO_LOAD
                self._host_came.notify_all()
            if before is None or before.host != record.host:
                self._rename(slot, "" if before is None else before.host, record.host)
            kind = self._kinds.setdefault(record.kind, len(self._kinds))
            if kind == len(self._kind_list):
                self._kind_list.append(record.kind)
            elif record.kind is not self._kind_list[kind]:
                record = replace(record, kind=self._kind_list[kind])
            self._records[slot] = record
            same = before is None or before.topology == record.topology
            if not same or told != self._devices.get(record.node_id, b""):
                self._news += 1
                self._topology_news[record.node_id] = self._news
                self._host_came.notify_all()
            columns = self._columns
            columns["there"][slot] = True
            columns["cell"][slot] = self._code(record.cell_id)
            columns["kind"][slot] = kind
            columns["serving"][slot] = record.up and not record.disabled
            columns["hypervisor_version"][slot] = record.kind.hypervisor_version
            columns["vcpus"][slot] = record.vcpus
            columns["memory_mb"][slot] = record.memory_mb
            columns["local_gb"][slot] = record.local_gb
            self._declared.pop(record.node_id, None)
            self._show_zone(slot, record)
            self._judge(slot, record)
            self._show_free(record.node_id)
            self._show_load(record.node_id)
            if told:
                self._devices[record.node_id] = told
            else:
                self._devices.pop(record.node_id, None)
            self._claims.heard(record.node_id, holders)
            self._show_devices(record.node_id)

    def put_load(self, node_id: str, load: HostLoad) -> None:
        """What runs on a host; one that is not known has none."""
        with self._lock:
            slot = self._slots.get(node_id)
            if slot is not None:
                self._columns["loads"][slot] = load
                self._ahead.pop(node_id, None)
                self._show_load(node_id)

    def drop_host(self, node_id: str, cell_id: str) -> None:
        """Told by a cell; a node that another cell has taken over stays."""
        with self._lock:
            slot = self._slots.get(node_id)
            record = None if slot is None else self._records[slot]
            if slot is None or record is None or record.cell_id != cell_id:
                return
            del self._slots[node_id]
            self._finder = None
            self._rename(slot, record.host, "")
            self._declared.pop(node_id, None)
            self._ahead.pop(node_id, None)
            self._topology_news.pop(node_id, None)
            self._devices.pop(node_id, None)
            self._claims.forget(node_id)
            self._columns["usable"][slot] = self._columns["there"][slot] = False
            self._unused.append((time.monotonic(), slot))

    def keep_hosts(self, cell_id: str, node_ids: Iterable[str]) -> None:
        """After a snapshot of a cell: these are all it has."""
        with self._lock:
            kept = set(node_ids)
            for slot in self._of_cell(cell_id):
                if (node_id := self._records[slot].node_id) not in kept:
                    self.drop_host(node_id, cell_id)

    def set_cell(self, cell_id: str, *, usable: bool) -> None:
        """Whether a cell gets new servers."""
        with self._lock:
            if usable == (cell_id not in self._unusable_cells):
                return
            if usable:
                self._unusable_cells.discard(cell_id)
            else:
                self._unusable_cells.add(cell_id)
            for slot in self._of_cell(cell_id):
                self._judge(slot, self._records[slot])

    def put_provider(
        self, provider_id: str, root_id: str, free: Mapping[str, int], taken: Mapping[str, int] = NONE
    ) -> None:
        with self._lock:
            known = self._providers.get(provider_id)
            if known is not None and known.root_id != root_id:
                self._forget_provider(provider_id)
            heard_at = time.monotonic() if known is None else known.heard_at
            # One text for both, where they are the same.
            root_id = provider_id if root_id == provider_id else root_id
            self._providers[provider_id] = ProviderFree(root_id, free, _taken(taken), heard_at)
            if provider_id != root_id:
                self._below.setdefault(root_id, set()).add(provider_id)
            self._show_free(root_id)

    def drop_provider(self, provider_id: str) -> None:
        with self._lock:
            self._forget_provider(provider_id)

    def keep_providers(self, provider_ids: Iterable[str]) -> None:
        """After a snapshot of placement: these are all there are."""
        with self._lock:
            for gone in self._providers.keys() - set(provider_ids):
                self.drop_provider(gone)

    # What decisions read and change.

    def node_id(self, host: str, node: str) -> str | None:
        """Of a host by its name, and the node's where it is given."""
        with self._lock:
            for slot in self._slots_by_host.get(host, ()):
                record = self._records[slot]
                if node in ("", record.node):
                    return str(record.node_id)
            return None

    def node_ids(self) -> list[str]:
        """Of all hosts."""
        with self._lock:
            return list(self._slots)

    def table(self, *node_ids: Sequence[str]) -> tuple[HostTable, Rows]:
        """Those of the nodes that are known, and for each node its row or -1; lists follow one another.
        A node may be named several times; it has one row, in the order of their first naming."""
        with self._lock:
            self._show_zones()
            self._forget_ahead()
            for node_id in self._claims.expire():
                self._show_devices(node_id)
            slots = [self._slots_of(ids) for ids in node_ids]
            chosen, rows = _distinct(np.concatenate(slots), self._room)
            hosts = HostTable(
                chosen,
                self._columns,
                codes=self._codes,
                kinds=self._kind_list,
                aggregates=self._zoned_by,
                aggregate_sets=self._set_list,
                metadata_keys=self._metadata_keys,
                slots_by_host=self._slots_by_host,
                devices=self._devices,
                claims=self._claims.by_node(),
            )
            return hosts, rows

    def zone_by_aggregates(self, zone: str) -> bool:
        """Whether every host of a zone is in it by an aggregate, so that aggregates alone can name its hosts."""
        with self._lock:
            self._show_zones()
            columns, code = self._columns, self._codes.get(zone, -1)
            return not bool(np.any((columns["zone"] == code) & ~columns["zoned"] & columns["there"]))

    def await_newcomer(self, node_ids: Iterable[str], timeout: float) -> bool:
        """Placement and the conductors tell of a new node independently. Waits up to `timeout` seconds until one
        of those nodes is known that placement has only just told of; whether one came."""
        with self._host_came:
            since = time.monotonic() - _NEWCOMER_SECONDS
            late = [
                node_id
                for node_id in node_ids
                if node_id not in self._slots
                and ((known := self._providers.get(node_id)) is None or known.heard_at >= since)
            ]
            return bool(late) and self._host_came.wait_for(
                lambda: any(node_id in self._slots for node_id in late), timeout
            )

    def topology_news(self) -> int:
        """A mark for `await_topology`: what is told from now on is news."""
        with self._lock:
            return self._news

    def await_topology(self, node_ids: Iterable[str], mark: int, timeout: float) -> bool:
        """Guests leave a host before their claims do, but not always are schedulers told in this order. Waits up to
        `timeout` seconds until one of those nodes tells of its NUMA cells or PCI devices anew; whether one did."""
        nodes = list(node_ids)
        with self._host_came:
            return self._host_came.wait_for(
                lambda: any(self._topology_news.get(node_id, 0) > mark for node_id in nodes), timeout
            )

    def free(self, provider_id: str, resource_class: str) -> int | None:
        """None when nothing is known of the provider."""
        with self._lock:
            provider = self._providers.get(provider_id)
            return None if provider is None else provider.free.get(resource_class, 0)

    def free_below(self, root_id: str, resource_class: str) -> int:
        """On all providers of a tree together."""
        with self._lock:
            tree = (root_id, *self._below.get(root_id, ()))
            return sum(self.free(provider_id, resource_class) or 0 for provider_id in tree)

    def take(self, allocations: Mapping[str, Mapping[str, int]], sign: int = 1) -> None:
        """Counts a claim of our own, or with sign -1 gives it back; the feeds tell the truth soon."""
        with self._lock:
            roots: set[str] = set()
            for provider_id, amounts in allocations.items():
                known = self._providers.get(provider_id)
                if known is not None:
                    roots.add(known.root_id)
                    known.free = {n: amount - sign * amounts.get(n, 0) for n, amount in known.free.items()}
                    more = _taken(amounts)
                    known.taken = tuple(a + sign * b for a, b in zip(known.taken, more, strict=True))
            for root_id in roots:
                self._ahead[root_id] = max(self._ahead.get(root_id, 0) + sign, 0)
                if sign > 0:
                    self._ahead_until.append((time.monotonic() + _AHEAD_SECONDS, root_id))
                self._show_free(root_id)
                self._show_load(root_id)

    def take_devices(self, node_id: str, server_id: str, wanted: Wanted) -> None:
        """Counts what a server was claimed for, until its host tells that it has it."""
        with self._lock:
            self._claims.put(node_id, server_id, wanted)
            self._show_devices(node_id)

    def give_devices_back(self, node_id: str, server_id: str) -> None:
        with self._lock:
            self._claims.heard(node_id, [server_id])
            self._show_devices(node_id)

    # Inside.

    def _of_cell(self, cell_id: str) -> list[int]:
        """Slots of the hosts of a cell."""
        if (code := self._codes.get(cell_id)) is None:
            return []
        slots: list[int] = np.flatnonzero((self._columns["cell"] == code) & self._columns["there"]).tolist()
        return slots

    def _slots_of(self, node_ids: Sequence[str]) -> Rows:
        """For each node its slot, or -1."""
        if isinstance(node_ids, PackedIds):
            if self._finder is None and (all_ids := PackedIds.of(list(self._slots))) is not None:
                numbers = np.fromiter(self._slots.values(), dtype=np.intp, count=len(self._slots))
                self._finder = Finder(all_ids, numbers)
            if self._finder is not None:
                return self._finder.find(node_ids)
        found = map(self._slots.get, node_ids, repeat(-1))
        return np.fromiter(found, dtype=np.intp, count=len(node_ids))

    def _take_slot(self) -> int:
        if self._unused and time.monotonic() - self._unused[0][0] > _REST_SECONDS:
            return self._unused.popleft()[1]
        slot, self._next = self._next, self._next + 1
        if slot >= self._room:
            self._numbers += range(self._room, 2 * self._room)
            for name, column in self._columns.items():
                more: npt.NDArray[Any] = np.zeros(self._room, dtype=column.dtype)
                if column.dtype == np.object_:
                    more[:] = None
                self._columns[name] = np.concatenate([column, more])
            self._records = self._columns["records"]
            self._room *= 2
        return self._numbers[slot]

    def _rename(self, slot: int, before: str, now: str) -> None:
        """Keeps what is found by a host's name; empty = none."""
        if before:
            left = tuple(other for other in self._slots_by_host.get(before, ()) if other != slot)
            if left:
                self._slots_by_host[before] = left
            else:
                self._slots_by_host.pop(before, None)
        if now:
            self._slots_by_host[now] = (*self._slots_by_host.get(now, ()), slot)

    def _code(self, text: str) -> int:
        return self._codes.setdefault(text, len(self._codes))

    def _judge(self, slot: int, record: HostRecord) -> None:
        self._columns["usable"][slot] = record.cell_id not in self._unusable_cells

    def _show_zones(self) -> None:
        """Zones and sets of aggregates; once after each change of the aggregates, when somebody looks."""
        current = self.aggregates.current
        if current is self._zoned_by:
            return
        self._zoned_by = current
        self._metadata_keys = frozenset(key for one in current for key in one.metadata)
        # A new list: tables that were made before keep theirs.
        self._sets, self._set_list = {(): 0}, [()]
        for slot in self._slots.values():
            self._show_zone(slot, self._records[slot])

    def _show_zone(self, slot: int, record: HostRecord) -> None:
        declared = self._declared.get(record.node_id, record.availability_zone)
        by_aggregate = self._zoned_by.zone(record.host)
        zone = by_aggregate or declared
        self._columns["zoned"][slot] = bool(by_aggregate)
        if record.availability_zone != zone:
            self._declared[record.node_id] = declared
            self._records[slot] = replace(record, availability_zone=zone)
        self._columns["zone"][slot] = self._code(zone)
        members = self._zoned_by.of_host(record.host)
        key = tuple(one.aggregate_id for one in members)
        code = self._sets.setdefault(key, len(self._sets))
        if code == len(self._set_list):
            self._set_list.append(members)
        self._columns["aggregate_set"][slot] = code

    def _forget_provider(self, provider_id: str) -> None:
        known = self._providers.pop(provider_id, None)
        if known is None:
            return
        if (below := self._below.get(known.root_id)) is not None:
            below.discard(provider_id)
            if not below:
                del self._below[known.root_id]
        self._show_free(known.root_id)

    def _show_free(self, root_id: str) -> None:
        slot = self._slots.get(root_id)
        if slot is None:
            return
        totals = dict.fromkeys((*FREE_COLUMNS.values(), *_TAKEN), 0)
        for provider_id in (root_id, *self._below.get(root_id, ())):
            provider = self._providers.get(provider_id)
            if provider is None:
                continue
            for name, amount in provider.free.items():
                if (column := FREE_COLUMNS.get(name)) is not None:
                    totals[column] += amount
            for column, amount in zip(_TAKEN, provider.taken, strict=True):
                totals[column] += amount
        for column, amount in totals.items():
            self._columns[column][slot] = amount

    def _show_load(self, node_id: str) -> None:
        slot = self._slots.get(node_id)
        if slot is None:
            return
        load, ahead = self._columns["loads"][slot], self._ahead.get(node_id, 0)
        self._columns["num_instances"][slot] = load.servers + ahead
        self._columns["io_ops"][slot] = load.io_operations + ahead
        self._columns["failed_builds"][slot] = load.failed_builds

    def _show_devices(self, node_id: str) -> None:
        slot = self._slots.get(node_id)
        if slot is not None:
            told = self._devices.get(node_id)
            left = devices.free(told) - self._claims.devices(node_id) if told else 0
            self._columns["free_devices"][slot] = max(left, 0)

    def _forget_ahead(self) -> None:
        now = time.monotonic()
        while self._ahead_until and self._ahead_until[0][0] < now:
            _, node_id = self._ahead_until.popleft()
            left = self._ahead.pop(node_id, 0) - 1
            if left > 0:
                self._ahead[node_id] = left
            self._show_load(node_id)


def _taken(amounts: Mapping[str, int]) -> tuple[int, ...]:
    totals = dict.fromkeys(_TAKEN, 0)
    for name, amount in amounts.items():
        if (column := TAKEN_COLUMNS.get(name)) is not None:
            totals[column] += amount
    return tuple(totals.values())


def _distinct(slots: Rows, room: int) -> tuple[Rows, Rows]:
    """The distinct ones of some slots (-1 = none), and for each the place among them."""
    rows: Rows = np.full(len(slots), -1, dtype=np.intp)
    there = np.flatnonzero(slots >= 0)
    named = slots[there]
    first: Rows = np.empty(room, dtype=np.intp)
    order = np.arange(len(named), dtype=np.intp)
    first[named[::-1]] = order[::-1]
    firsts = first[named]
    is_first = firsts == order
    rows[there] = (np.cumsum(is_first) - 1)[firsts]
    return named[is_first], rows
