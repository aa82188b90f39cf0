"""What a host says of itself, by the names operators and users know it under.

A path is a name and, for `cpu_info`, `stats`, `metrics` and `service`, the keys within.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from protonova.services.scheduler.hosts import HostKind, HostRecord
from protonova.services.scheduler.table import HostTable, Rows


class _Absent:
    """The value of what a host does not have."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Any = _Absent()


@dataclass(frozen=True, slots=True)
class Attribute:
    """Distinct values, and for each row which one it has."""

    values: Sequence[Any]
    places: Rows

    def judged(self, judge: Callable[[Any], bool]) -> npt.NDArray[np.bool_]:
        verdicts = np.fromiter((judge(value) for value in self.values), np.bool_, count=len(self.values))
        return verdicts[self.places]

    def column(self) -> list[Any]:
        return [self.values[place] for place in self.places.tolist()]


_Column = Callable[[HostTable], npt.NDArray[np.int64]]

_NUMBERS: dict[str, _Column] = {
    "free_ram_mb": lambda hosts: hosts.memory_mb - hosts.taken_memory_mb,
    "free_disk_mb": lambda hosts: (hosts.local_gb - hosts.taken_disk_gb) * 1024,
    "free_disk_gb": lambda hosts: hosts.local_gb - hosts.taken_disk_gb,
    "disk_mb_used": lambda hosts: hosts.taken_disk_gb * 1024,
    "total_usable_ram_mb": lambda hosts: hosts.memory_mb,
    "memory_mb": lambda hosts: hosts.memory_mb,
    "memory_mb_used": lambda hosts: hosts.taken_memory_mb,
    "total_usable_disk_gb": lambda hosts: hosts.local_gb,
    "local_gb": lambda hosts: hosts.local_gb,
    "local_gb_used": lambda hosts: hosts.taken_disk_gb,
    "vcpus": lambda hosts: hosts.vcpus,
    "vcpus_total": lambda hosts: hosts.vcpus,
    "vcpus_used": lambda hosts: hosts.taken_vcpus,
    "vcpus_free": lambda hosts: hosts.free_vcpus,
    "num_instances": lambda hosts: hosts.num_instances,
    "num_io_ops": lambda hosts: hosts.io_ops,
    "failed_builds": lambda hosts: hosts.failed_builds,
    "hypervisor_version": lambda hosts: hosts.hypervisor_version,
}
_STATS = {"num_instances": "num_instances", "io_workload": "num_io_ops", "failed_builds": "failed_builds"}
_KINDS: dict[str, Callable[[HostKind], Any]] = {
    "hypervisor_type": lambda kind: kind.hypervisor_type,
    "architecture": lambda kind: kind.architecture,
    "cpu_info": lambda kind: kind.processor,
    "supported_instances": lambda kind: [list(guest) for guest in kind.guests],
}
_RECORDS: dict[str, Callable[[HostRecord], Any]] = {
    "host": lambda record: record.host,
    "id": lambda record: record.node_id,
    "uuid": lambda record: record.node_id,
    "nodename": lambda record: record.node,
    "hypervisor_hostname": lambda record: record.node,
    "host_ip": lambda record: record.host_ip,
    "metrics": lambda record: record.metrics,
    "service": lambda record: {"host": record.host, "disabled": record.disabled, "up": record.up},
}


def find(hosts: HostTable, path: Sequence[str]) -> Attribute | None:
    """None when there is no such attribute; `ABSENT` among the values for hosts that do not have it."""
    name, *keys = path
    if name == "stats":
        if len(keys) != 1 or keys[0] not in _STATS:
            return None
        name, keys = _STATS[keys[0]], []
    if (number := _NUMBERS.get(name)) is not None:
        if keys:
            return None
        distinct, places = np.unique(number(hosts), return_inverse=True)
        return Attribute(distinct.tolist(), places)
    if (of_kind := _KINDS.get(name)) is not None:
        codes, places = np.unique(hosts.kind, return_inverse=True)
        values = [_within(of_kind(hosts.kinds[code]), keys) for code in codes.tolist()]
        return Attribute(values, places)
    if (of_record := _RECORDS.get(name)) is not None:
        values = [_within(of_record(record), keys) for record in hosts.records]
        return Attribute(values, np.arange(len(hosts), dtype=np.intp))
    return None


def _within(value: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            return ABSENT
        value = value[key]
    return value
