"""The sockets, cores and threads a guest sees its CPUs as."""

from __future__ import annotations

from collections.abc import Iterator

from protonova.common.v1.numa_pb2 import CpuShape

PARTS = ("sockets", "cores", "threads")

Shape = tuple[int, int, int]


def choose(vcpus: int, wanted: CpuShape, largest: CpuShape, threads: int = 1) -> CpuShape | None:
    """The shape of so many CPUs that agrees with most of what is wanted, within the largest; None when nothing
    stays within. Where nothing is wanted: `threads` to a core, if that divides them, and a socket for each core.
    """
    asked = _parts(wanted)
    if not any(asked):
        asked = (0, 0, threads) if vcpus % threads == 0 else (0, 0, 1)

    def rank(shape: Shape) -> tuple[int, int, int, int]:
        agreeing = sum(want in (0, part) for want, part in zip(asked, shape, strict=True))
        return -agreeing, shape[2], -shape[0], shape[1]

    possible = list(_within(vcpus, _parts(largest)))
    if not possible:
        return None
    sockets, cores, threads = min(possible, key=rank)
    return CpuShape(sockets=sockets, cores=cores, threads=threads)


def _within(vcpus: int, largest: Shape) -> Iterator[Shape]:
    """All ways to make so many CPUs, none of whose parts is too large."""
    most = [limit or vcpus for limit in largest]
    for sockets in _divisors(vcpus):
        for cores in _divisors(vcpus // sockets):
            threads = vcpus // sockets // cores
            if sockets <= most[0] and cores <= most[1] and threads <= most[2]:
                yield sockets, cores, threads


def _divisors(number: int) -> list[int]:
    return [candidate for candidate in range(1, number + 1) if number % candidate == 0]


def _parts(shape: CpuShape) -> Shape:
    return shape.sockets, shape.cores, shape.threads
