"""Which dedicated CPUs of a host cell a guest cell gets.

CPUs are taken core by core, whole cores first and the last one as tight as possible, so that what is left for
others stays in one piece.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from protonova.common.v1 import numa_pb2 as pb

Core = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """`pins` for guest CPUs, in their order; `reserved` for emulator threads; `idle` beside them. `threads` is how
    many of the guest's CPUs share each core, 1 when that differs."""

    pins: tuple[int, ...] = ()
    reserved: tuple[int, ...] = ()
    idle: tuple[int, ...] = ()
    threads: int = 1


def choose(
    cell: pb.HostCell, count: int, reserved: int, policy: pb.CpuThreadPolicy.ValueType
) -> Choice | None:
    """CPUs for `count` guest CPUs and for `reserved` threads of the emulator; None when there are too few."""
    if not count and not reserved:
        return Choice()
    if policy == pb.CPU_THREAD_POLICY_ISOLATE:
        return _isolated(cell, count, reserved)
    cores = free_cores(cell)
    eligible = cores
    if policy == pb.CPU_THREAD_POLICY_REQUIRE:
        eligible = [core for core in cores if len(core) > 1]
    groups = _take(eligible, count)
    if groups is None:
        return None
    pins = tuple(cpu for group in groups for cpu in group)
    left = [rest for core in cores if (rest := tuple(cpu for cpu in core if cpu not in pins))]
    extra = _take(left, reserved)
    if extra is None:
        return None
    return Choice(pins, tuple(cpu for group in extra for cpu in group), threads=_threads(groups))


def free_cores(cell: pb.HostCell) -> list[Core]:
    """Free dedicated CPUs by core, in the order of their first CPU."""
    free = sorted(set(cell.dedicated_cpus).difference(cell.pinned_cpus))
    return _grouped(free, cell.siblings)


def _isolated(cell: pb.HostCell, count: int, reserved: int) -> Choice | None:
    """A core for each, on which nothing else of a guest runs or may run."""
    pinned, shared = set(cell.pinned_cpus), set(cell.shared_cpus)
    cores = _grouped(sorted({*cell.dedicated_cpus, *cell.shared_cpus}), cell.siblings)
    whole = [core for core in cores if not pinned.intersection(core) and not shared.intersection(core)]
    # The cores with the fewest threads first: they waste the least.
    chosen = sorted(whole, key=len)[: count + reserved]
    if len(chosen) < count + reserved:
        return None
    firsts = [core[0] for core in chosen]
    idle = tuple(sorted(cpu for core in chosen for cpu in core[1:]))
    return Choice(tuple(sorted(firsts[:count])), tuple(sorted(firsts[count:])), idle)


def _grouped(cpus: Iterable[int], siblings: Iterable[pb.CpuSet]) -> list[Core]:
    core_of = {cpu: number for number, core in enumerate(siblings, 1) for cpu in core.cpus}
    cores: dict[int, list[int]] = {}
    for cpu in cpus:
        cores.setdefault(core_of.get(cpu, -cpu), []).append(cpu)
    return sorted(map(tuple, cores.values()))


def _take(cores: Iterable[Core], count: int) -> list[Core] | None:
    """So many CPUs: whole cores, the largest first, and of the last one only what is still needed."""
    left = list(cores)
    if sum(map(len, left)) < count:
        return None
    taken: list[Core] = []
    while count:
        whole = [core for core in left if len(core) <= count]
        core = max(whole, key=len) if whole else min(left, key=len)
        left.remove(core)
        taken.append(core[:count])
        count -= len(taken[-1])
    return sorted(taken)


def _threads(groups: list[Core]) -> int:
    sizes = {len(group) for group in groups}
    return sizes.pop() if len(sizes) == 1 else 1
