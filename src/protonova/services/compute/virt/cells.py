"""The NUMA cells of a host as guests may use them: the hardware, divided by what the operator set.

A driver finds cells with all their CPUs; here these become CPUs that guests share and CPUs that are given to one
guest each. Without any set all are shared; with a dedicated set alone none is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from protonova.common.v1 import numa_pb2 as pb
from protonova.services.compute.virt import errors
from protonova.services.numa import cpus

HYPERTHREADING = "HW_CPU_HYPERTHREADING"


@dataclass(frozen=True)
class CpuSets:
    """What the operator set. None = not set. `reserved_pages`: (cell, size in KiB) → how many are the host's."""

    shared: frozenset[int] | None = None
    dedicated: frozenset[int] | None = None
    reserved_pages: tuple[tuple[int, int, int], ...] = ()

    @classmethod
    def read(cls, shared: str, dedicated: str, reserved: Iterable[str] = ()) -> CpuSets:
        """Raises DriverError naming the option."""
        found = cls(
            _set("cpu_shared_set", shared),
            _set("cpu_dedicated_set", dedicated),
            tuple(_reserved(item) for item in reserved),
        )
        if both := (found.shared or frozenset()) & (found.dedicated or frozenset()):
            raise errors.DriverError(
                f"[compute]cpu_shared_set and cpu_dedicated_set both name CPU {cpus.spell(both)}"
            )
        return found

    @property
    def divides(self) -> bool:
        return self.shared is not None or self.dedicated is not None


def divided(
    found: Sequence[pb.HostCell], sets: CpuSets, *, cpu_ratio: float, memory_ratio: float
) -> pb.HostTopology:
    """Cells whose `shared_cpus` are all their CPUs, with the sets applied. Raises DriverError for CPUs and cells
    that the host does not have."""
    there = {cpu for cell in found for cpu in cell.shared_cpus}
    for name, wanted in (("cpu_shared_set", sets.shared), ("cpu_dedicated_set", sets.dedicated)):
        if missing := (wanted or frozenset()) - there:
            raise errors.DriverError(
                f"[compute]{name} names CPU {cpus.spell(missing)}, the host has {cpus.spell(there)}"
            )
    dedicated = sets.dedicated or frozenset()
    shared = sets.shared if sets.shared is not None else (frozenset() if dedicated else frozenset(there))
    host = pb.HostTopology(cpu_allocation_ratio=cpu_ratio, memory_allocation_ratio=memory_ratio)
    for cell in sorted(found, key=lambda cell: cell.number):
        own = host.cells.add()
        own.CopyFrom(cell)
        own.shared_cpus[:] = sorted(shared.intersection(cell.shared_cpus))
        own.dedicated_cpus[:] = sorted(dedicated.intersection(cell.shared_cpus))
    for number, size_kb, count in sets.reserved_pages:
        _pool(host, number, size_kb).reserved = count
    return host


def shared_cpus(host: pb.HostTopology) -> list[int]:
    return [cpu for cell in host.cells for cpu in cell.shared_cpus]


def dedicated_cpus(host: pb.HostTopology) -> list[int]:
    return [cpu for cell in host.cells for cpu in cell.dedicated_cpus]


def has_threads(host: pb.HostTopology) -> bool:
    return any(cell.siblings for cell in host.cells)


def _set(name: str, text: str) -> frozenset[int] | None:
    if not text.strip():
        return None
    try:
        found = frozenset(cpus.parse(text))
    except ValueError as error:
        raise errors.DriverError(f"[compute]{name}: {error}") from error
    if not found:
        raise errors.DriverError(f"[compute]{name}: '{text}' names no CPU")
    return found


def _reserved(text: str) -> tuple[int, int, int]:
    """Of "node:0,size:2048,count:64"."""
    facts = dict(part.strip().partition(":")[::2] for part in text.split(","))
    try:
        return int(facts["node"]), int(facts["size"]), int(facts["count"])
    except (KeyError, ValueError) as error:
        raise errors.DriverError(
            f"[compute]reserved_huge_pages: '{text}' does not tell node, size (KiB) and count"
        ) from error


def _pool(host: pb.HostTopology, number: int, size_kb: int) -> pb.PagePool:
    for cell in host.cells:
        for pool in cell.pages:
            if cell.number == number and pool.size_kb == size_kb:
                return pool
    raise errors.DriverError(
        f"[compute]reserved_huge_pages: there are no pages of {size_kb} KiB in NUMA node {number}"
    )
