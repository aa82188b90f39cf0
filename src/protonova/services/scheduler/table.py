"""Some hosts side by side: a row each, and a column for everything that is compared.

A decision makes a table of the hosts that placement names, and changes it as it goes. What hosts have in common
(their kind, their aggregates) is a column of numbers that stand for it, so that a filter judges it once and not
once a host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from protonova.services.scheduler.aggregates import Aggregate, AggregateIndex
from protonova.services.scheduler.devices import Having, Wanted
from protonova.services.scheduler.hosts import HostKind, HostRecord

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]
# Small numbers that stand for something else.
Codes = npt.NDArray[np.int32]
Rows = npt.NDArray[np.intp]
Objects = npt.NDArray[np.object_]

# Resource class → the column that holds what is free of it on a whole host, allocation ratio and all …
FREE_COLUMNS = {"VCPU": "free_vcpus", "MEMORY_MB": "free_memory_mb", "DISK_GB": "free_disk_gb"}
# … and the column that holds what is reserved or allocated of it.
TAKEN_COLUMNS = {
    "VCPU": "taken_vcpus",
    "PCPU": "taken_vcpus",
    "MEMORY_MB": "taken_memory_mb",
    "DISK_GB": "taken_disk_gb",
}


class HostTable:
    """Rows are chosen from the view's slots; a column of numbers is read when it is first looked at, for a decision
    looks at few of them. From then on it is the table's own."""

    # A `HostRecord` and a `HostLoad` a row.
    records: Objects
    loads: Objects
    # Its cell gets new servers.
    usable: Mask
    # Its compute service is up and enabled.
    serving: Mask
    # For texts (`code`), for kinds (`kinds`) and for sets of aggregates (`aggregate_sets`).
    cell: Codes
    zone: Codes
    kind: Codes
    aggregate_set: Codes
    hypervisor_version: Numbers
    # PCI devices for guests.
    free_devices: Numbers
    num_instances: Numbers
    io_ops: Numbers
    failed_builds: Numbers
    # What there is, without reserve or ratio.
    vcpus: Numbers
    memory_mb: Numbers
    local_gb: Numbers
    free_vcpus: Numbers
    free_memory_mb: Numbers
    free_disk_gb: Numbers
    taken_vcpus: Numbers
    taken_memory_mb: Numbers
    taken_disk_gb: Numbers

    def __init__(
        self,
        slots: Rows,
        columns: Mapping[str, npt.NDArray[Any]],
        *,
        codes: Mapping[str, int],
        kinds: Sequence[HostKind],
        aggregates: AggregateIndex,
        aggregate_sets: Sequence[tuple[Aggregate, ...]],
        metadata_keys: frozenset[str],
        slots_by_host: Mapping[str, tuple[int, ...]],
        devices: Mapping[str, bytes] | None = None,
        claims: Mapping[str, tuple[Wanted, ...]] | None = None,
    ) -> None:
        self.slots = slots
        self.codes = codes
        self.kinds = kinds
        self.aggregates = aggregates
        self.aggregate_sets = aggregate_sets
        # Every key that some aggregate's metadata has.
        self.metadata_keys = metadata_keys
        # By node id, of the few that have any: devices, and what was claimed there and is not among them yet.
        self._devices = devices or {}
        self._claims = claims or {}
        self._columns = columns
        self._slots_by_host = slots_by_host
        self._row_of_slot: Rows | None = None
        # Which hosts these are, and in which zones, is of one moment.
        self.records = columns["records"][slots]
        self.aggregate_set = (
            columns["aggregate_set"][slots] if metadata_keys else np.zeros(len(slots), np.int32)
        )

    def __getattr__(self, name: str) -> npt.NDArray[Any]:
        if name.startswith("_") or name not in self._columns:
            raise AttributeError(name)
        column = self._columns[name][self.slots]
        setattr(self, name, column)
        return column

    def record(self, row: int) -> HostRecord:
        found: HostRecord = self.records[row]
        return found

    def having(self, row: int) -> Having:
        """NUMA cells and PCI devices of a host."""
        record = self.record(row)
        node_id = record.node_id
        return Having(record.topology, self._devices.get(node_id, b""), self._claims.get(node_id, ()))

    def __len__(self) -> int:
        return len(self.slots)

    def code(self, text: str) -> int:
        """The number that stands for a text in the columns `cell` and `zone`; -1 when none has it."""
        return self.codes.get(text, -1)

    def named(self, hosts: Iterable[str]) -> Mask:
        """The rows of hosts of these names; costs by the names, not by the rows."""
        return self.numbered(dict.fromkeys(hosts, 1)) > 0

    def numbered(self, numbers: Mapping[str, int]) -> Numbers:
        """A column of numbers given by hosts' names, 0 for all others; costs by the names, not by the rows."""
        if self._row_of_slot is None:
            self._row_of_slot = np.full(int(self.slots.max(initial=-1)) + 1, -1, dtype=np.intp)
            self._row_of_slot[self.slots] = np.arange(len(self), dtype=np.intp)
        slots, values = [], []
        for host, number in numbers.items():
            for slot in self._slots_by_host.get(host, ()):
                if slot < len(self._row_of_slot):
                    slots.append(slot)
                    values.append(number)
        # What is in no row comes to stand behind the last one.
        column = np.zeros(len(self) + 1, dtype=np.int64)
        if slots:
            column[self._row_of_slot[slots]] = values
        return column[:-1]

    def by_kind(self, judge: Callable[[HostKind], Any], dtype: Any = np.bool_) -> npt.NDArray[Any]:
        """A column of what `judge` says of each row's kind."""
        return spread(self.kind, lambda code: judge(self.kinds[code]), dtype)

    def by_aggregates(
        self, judge: Callable[[tuple[Aggregate, ...]], Any], dtype: Any = np.bool_
    ) -> npt.NDArray[Any]:
        """A column of what `judge` says of each row's aggregates."""
        return spread(self.aggregate_set, lambda code: judge(self.aggregate_sets[code]), dtype)

    def consume(self, row: int, amounts: Mapping[str, int]) -> None:
        """Something is allocated on a row's host."""
        for name, amount in amounts.items():
            if (column := FREE_COLUMNS.get(name)) is not None:
                getattr(self, column)[row] -= amount
            if (column := TAKEN_COLUMNS.get(name)) is not None:
                getattr(self, column)[row] += amount

    def place(self, row: int) -> None:
        """Another server is going to be built there."""
        self.num_instances[row] += 1
        self.io_ops[row] += 1


def spread(codes: Codes, judge: Callable[[int], Any], dtype: Any) -> npt.NDArray[Any]:
    """A column of what `judge` says of each code, asked once for each that is there."""
    if not len(codes):
        return np.zeros(0, dtype=dtype)
    there = np.flatnonzero(np.bincount(codes))
    verdicts = np.empty(int(there[-1]) + 1, dtype=dtype)
    for code in there.tolist():
        verdicts[code] = judge(code)
    return verdicts[codes]
