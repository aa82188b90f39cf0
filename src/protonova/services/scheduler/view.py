"""The hosts as the scheduler sees them: what the cells' conductors and placement tell, in memory.

Conductors own the hosts, placement the resources; the view is rebuilt from their feeds at each start and is at most
a moment behind. It only ranks and sorts out: what a server gets is decided by a claim in placement. Own claims are
counted at once, so that the next decision knows of them before the feed does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

# Resource class → the column that holds what is free of it on a whole host.
FREE_COLUMNS = {"VCPU": "free_vcpus", "MEMORY_MB": "free_memory_mb", "DISK_GB": "free_disk_gb"}
_COLUMNS = ("cell", "zone", "hypervisor_version", "io_ops", "failed_builds", *FREE_COLUMNS.values())
_FIRST_ROOM = 64
# For how long after placement told of a node its conductor may be the slower one to tell.
_NEWCOMER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class HostRecord:
    """One hypervisor node. `node_id` is also the id of its root resource provider."""

    node_id: str
    host: str
    node: str
    cell_id: str
    availability_zone: str = ""
    up: bool = True
    disabled: bool = False
    hypervisor_type: str = ""
    hypervisor_version: int = 0
    architecture: str = ""
    vcpus: int = 0
    memory_mb: int = 0
    local_gb: int = 0
    disk_formats: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ProviderFree:
    """What is free on one provider, by class."""

    root_id: str
    free: Mapping[str, int]


@dataclass(slots=True)
class HostTable:
    """Some hosts, as they were when they were looked at: the records, and a column for what is compared by
    number. A decision changes its own table as it goes."""

    records: list[HostRecord]
    usable: Mask
    cell: Numbers
    zone: Numbers
    hypervisor_version: Numbers
    io_ops: Numbers
    failed_builds: Numbers
    free_vcpus: Numbers
    free_memory_mb: Numbers
    free_disk_gb: Numbers
    codes: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.records)

    def code(self, text: str) -> int:
        """The number that stands for a text in the columns `cell` and `zone`; -1 when none has it."""
        return self.codes.get(text, -1)

    def consume(self, row: int, amounts: Mapping[str, int]) -> None:
        for name, amount in amounts.items():
            if (column := FREE_COLUMNS.get(name)) is not None:
                getattr(self, column)[row] -= amount


class HostView:
    """All hosts. One lock, held for microseconds, guards maps and arrays."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._host_came = threading.Condition(self._lock)
        self._room = _FIRST_ROOM
        self._slots: dict[str, int] = {}
        self._unused: list[int] = []
        self._next = 0
        self._records: list[HostRecord | None] = [None] * self._room
        self._columns: dict[str, Numbers] = {name: np.zeros(self._room, dtype=np.int64) for name in _COLUMNS}
        self._usable: Mask = np.zeros(self._room, dtype=np.bool_)
        self._codes: dict[str, int] = {}
        self._providers: dict[str, ProviderFree] = {}
        self._heard_at: dict[str, float] = {}
        self._free: dict[str, dict[str, int]] = {}
        self._unusable_cells: set[str] = set()

    def __len__(self) -> int:
        return len(self._slots)

    # What the feeds tell.

    def put_host(self, record: HostRecord) -> None:
        with self._lock:
            slot = self._slots.get(record.node_id)
            if slot is None:
                slot = self._slots[record.node_id] = self._take_slot()
                self._host_came.notify_all()
            self._records[slot] = record
            columns = self._columns
            columns["cell"][slot] = self._code(record.cell_id)
            columns["zone"][slot] = self._code(record.availability_zone)
            columns["hypervisor_version"][slot] = record.hypervisor_version
            self._judge(slot, record)
            self._show_free(record.node_id)

    def drop_host(self, node_id: str, cell_id: str) -> None:
        """Told by a cell; a node that another cell has taken over stays."""
        with self._lock:
            slot = self._slots.get(node_id)
            record = None if slot is None else self._records[slot]
            if slot is None or record is None or record.cell_id != cell_id:
                return
            del self._slots[node_id]
            self._records[slot] = None
            self._usable[slot] = False
            self._unused.append(slot)

    def keep_hosts(self, cell_id: str, node_ids: Iterable[str]) -> None:
        """After a snapshot of a cell: these are all it has."""
        with self._lock:
            kept = set(node_ids)
            for record in [record for record in self._records if record and record.cell_id == cell_id]:
                if record.node_id not in kept:
                    self.drop_host(record.node_id, cell_id)

    def set_cell(self, cell_id: str, *, usable: bool) -> None:
        """Whether a cell gets new servers."""
        with self._lock:
            if usable == (cell_id not in self._unusable_cells):
                return
            if usable:
                self._unusable_cells.discard(cell_id)
            else:
                self._unusable_cells.add(cell_id)
            for slot, record in enumerate(self._records):
                if record is not None and record.cell_id == cell_id:
                    self._judge(slot, record)

    def put_provider(self, provider_id: str, root_id: str, free: Mapping[str, int]) -> None:
        with self._lock:
            self._forget_provider(provider_id)
            self._heard_at.setdefault(provider_id, time.monotonic())
            self._providers[provider_id] = ProviderFree(root_id, dict(free))
            total = self._free.setdefault(root_id, {})
            for name, amount in free.items():
                total[name] = total.get(name, 0) + amount
            self._show_free(root_id)

    def drop_provider(self, provider_id: str) -> None:
        with self._lock:
            self._forget_provider(provider_id)
            self._heard_at.pop(provider_id, None)

    def keep_providers(self, provider_ids: Iterable[str]) -> None:
        """After a snapshot of placement: these are all there are."""
        with self._lock:
            for gone in self._providers.keys() - set(provider_ids):
                self.drop_provider(gone)

    # What decisions read and change.

    def node_id(self, host: str, node: str) -> str | None:
        """Of a host by its name, and the node's where it is given."""
        with self._lock:
            for record in self._records:
                if record is not None and record.host == host and node in ("", record.node):
                    return record.node_id
            return None

    def table(self, node_ids: Sequence[str]) -> tuple[HostTable, list[int]]:
        """Those of the nodes that are known, and for each node its row or -1."""
        with self._lock:
            rows: list[int] = []
            slots: list[int] = []
            for node_id in node_ids:
                slot = self._slots.get(node_id)
                rows.append(-1 if slot is None else len(slots))
                if slot is not None:
                    slots.append(slot)
            chosen = np.array(slots, dtype=np.intp)
            records = [record for slot in slots if (record := self._records[slot]) is not None]
            columns = {name: column[chosen] for name, column in self._columns.items()}
            return HostTable(records, self._usable[chosen], codes=self._codes, **columns), rows

    def await_newcomer(self, node_ids: Iterable[str], timeout: float) -> bool:
        """Placement and the conductors tell of a new node independently. Waits up to `timeout` seconds until one
        of those nodes is known that placement has only just told of; whether one came."""
        with self._host_came:
            since = time.monotonic() - _NEWCOMER_SECONDS
            late = [
                node_id
                for node_id in node_ids
                if node_id not in self._slots and self._heard_at.get(node_id, since) >= since
            ]
            return bool(late) and self._host_came.wait_for(
                lambda: any(node_id in self._slots for node_id in late), timeout
            )

    def free(self, provider_id: str, resource_class: str) -> int | None:
        """None when nothing is known of the provider."""
        with self._lock:
            provider = self._providers.get(provider_id)
            return None if provider is None else provider.free.get(resource_class, 0)

    def take(self, allocations: Mapping[str, Mapping[str, int]], sign: int = 1) -> None:
        """Counts a claim of our own, or with sign -1 gives it back; the feed tells the truth soon."""
        with self._lock:
            for provider_id, amounts in allocations.items():
                known = self._providers.get(provider_id)
                if known is not None:
                    free = {name: amount - sign * amounts.get(name, 0) for name, amount in known.free.items()}
                    self.put_provider(provider_id, known.root_id, free)

    # Inside.

    def _take_slot(self) -> int:
        if self._unused:
            return self._unused.pop()
        slot, self._next = self._next, self._next + 1
        if slot >= self._room:
            self._records += [None] * self._room
            for name, column in self._columns.items():
                self._columns[name] = np.concatenate([column, np.zeros(self._room, dtype=np.int64)])
            self._usable = np.concatenate([self._usable, np.zeros(self._room, dtype=np.bool_)])
            self._room *= 2
        return slot

    def _code(self, text: str) -> int:
        return self._codes.setdefault(text, len(self._codes))

    def _judge(self, slot: int, record: HostRecord) -> None:
        self._usable[slot] = record.cell_id not in self._unusable_cells

    def _forget_provider(self, provider_id: str) -> None:
        known = self._providers.pop(provider_id, None)
        if known is None:
            return
        total = self._free[known.root_id]
        for name, amount in known.free.items():
            total[name] -= amount
        self._show_free(known.root_id)

    def _show_free(self, root_id: str) -> None:
        slot = self._slots.get(root_id)
        if slot is not None:
            total = self._free.get(root_id, {})
            for name, column in FREE_COLUMNS.items():
                self._columns[column][slot] = total.get(name, 0)
