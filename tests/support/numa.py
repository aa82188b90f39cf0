"""Hosts and guests with NUMA cells, in few words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from protonova.common.v1 import numa_pb2 as pb


def cell(
    number: int = 0,
    *,
    dedicated: Iterable[int] = (),
    shared: Iterable[int] = (),
    cores: Sequence[Iterable[int]] = (),
    memory_mb: int = 4096,
    pages: Sequence[tuple[int, int]] = (),
    pinned: Iterable[int] = (),
) -> pb.HostCell:
    """`cores` are sets of siblings; `pages` the larger pages: size in KiB and how many. The rest is small ones."""
    found = pb.HostCell(
        number=number,
        shared_cpus=sorted(shared),
        dedicated_cpus=sorted(dedicated),
        siblings=[pb.CpuSet(cpus=sorted(core)) for core in cores],
        memory_mb=memory_mb,
        pinned_cpus=sorted(pinned),
    )
    left_kb = memory_mb * 1024 - sum(size * total for size, total in pages)
    found.pages.add(size_kb=4, total=left_kb // 4)
    for size, total in pages:
        found.pages.add(size_kb=size, total=total)
    return found


def host(*cells: pb.HostCell, cpu_ratio: float = 1.0, memory_ratio: float = 1.0) -> pb.HostTopology:
    return pb.HostTopology(cells=cells, cpu_allocation_ratio=cpu_ratio, memory_allocation_ratio=memory_ratio)


def three_cells(threads: int = 2, cores: int = 2, memory_mb: int = 4096, huge: int = 512) -> pb.HostTopology:
    """Three cells of four dedicated CPUs each, two threads to a core, and as many 2 MiB pages as said."""
    cells, cpu = [], 0
    for number in range(3):
        groups = [range(cpu + core * threads, cpu + (core + 1) * threads) for core in range(cores)]
        own = range(cpu, cpu + cores * threads)
        cpu += cores * threads
        cells.append(
            cell(
                number,
                dedicated=own,
                cores=groups if threads > 1 else (),
                memory_mb=memory_mb,
                pages=[(2048, huge)] if huge else (),
            )
        )
    return host(*cells)


def guest(
    *cells: tuple[Iterable[int], int],
    policy: str = "dedicated",
    dedicated: Iterable[int] | None = None,
    threads: str = "",
    emulator: str = "",
    pages: str = "",
    realtime: Iterable[int] = (),
) -> pb.GuestTopology:
    """Cells as (CPUs, MiB); `pages` is small, large, any, or a size in KiB."""
    found = pb.GuestTopology(cpu_policy=_named(pb.CpuPolicy, "CPU_POLICY", policy))
    found.cpu_thread_policy = _named(pb.CpuThreadPolicy, "CPU_THREAD_POLICY", threads)
    found.emulator_threads_policy = _named(pb.EmulatorThreadsPolicy, "EMULATOR_THREADS_POLICY", emulator)
    if pages.isdecimal():
        found.memory_pages, found.requested_page_size_kb = pb.MEMORY_PAGES_SIZE, int(pages)
    else:
        found.memory_pages = _named(pb.MemoryPages, "MEMORY_PAGES", pages)
    own = None if dedicated is None else set(dedicated)
    for number, (cpus, memory_mb) in enumerate(cells):
        cpus = sorted(cpus)
        pinned = {"dedicated": cpus, "shared": []}.get(policy, [cpu for cpu in cpus if cpu in (own or ())])
        found.cells.add(
            number=number,
            cpus=cpus,
            dedicated_cpus=pinned,
            realtime_cpus=[cpu for cpu in cpus if cpu in set(realtime)],
            memory_mb=memory_mb,
        )
    return found


def _named(kind: Any, prefix: str, word: str) -> Any:
    return kind.Value(f"{prefix}_{word.upper() or 'UNSPECIFIED'}")
