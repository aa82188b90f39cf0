"""The NUMA cells of a host that is not there: CPUs, memory and pages divided equally."""

from __future__ import annotations

from collections.abc import Mapping

from protonova.common.v1 import numa_pb2 as pb

_SMALL_KB = 4


def cells(
    count: int,
    vcpus: int,
    threads: int,
    memory_mb: int,
    huge_pages: Mapping[int, int],
    sockets: int = 0,
) -> list[pb.HostCell]:
    """`threads` to a core; `huge_pages` of the whole host, by size in KiB. What cannot be divided is the first
    cell's. Cells are divided over so many sockets in their order, or have one each."""
    found = []
    first = 0
    for number in range(count):
        own = range(first, first + _share(vcpus, count, number))
        first = own.stop
        cell = pb.HostCell(number=number, shared_cpus=own, memory_mb=_share(memory_mb, count, number))
        cell.socket = number * min(sockets or count, count) // count
        if threads > 1:
            cores = [own[start : start + threads] for start in range(0, len(own), threads)]
            cell.siblings.extend(pb.CpuSet(cpus=core) for core in cores if len(core) > 1)
        pages = {size: _share(total, count, number) for size, total in sorted(huge_pages.items())}
        huge_kb = sum(size * total for size, total in pages.items())
        cell.pages.add(size_kb=_SMALL_KB, total=max(0, cell.memory_mb * 1024 - huge_kb) // _SMALL_KB)
        for size, total in pages.items():
            cell.pages.add(size_kb=size, total=total)
        for other in range(count):
            cell.distances.add(cell=other, distance=10 if other == number else 20)
        found.append(cell)
    return found


def _share(amount: int, count: int, number: int) -> int:
    return amount // count + (amount % count if number == 0 else 0)
