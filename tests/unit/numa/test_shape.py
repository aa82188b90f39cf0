"""Sockets, cores and threads."""

from __future__ import annotations

import pytest

from protonova.common.v1.numa_pb2 import CpuShape
from protonova.services.numa import shape

NONE = (0, 0, 0)


@pytest.mark.parametrize(
    ("vcpus", "wanted", "largest", "threads", "found"),
    [
        (4, NONE, NONE, 1, (4, 1, 1)),
        (4, NONE, NONE, 2, (2, 1, 2)),
        (3, NONE, NONE, 2, (3, 1, 1)),
        (8, NONE, (2, 0, 0), 1, (2, 4, 1)),
        (8, NONE, (2, 0, 1), 2, (2, 4, 1)),
        (8, NONE, (1, 2, 0), 1, (1, 2, 4)),
        (8, (1, 0, 0), NONE, 1, (1, 8, 1)),
        (8, (0, 2, 0), NONE, 1, (4, 2, 1)),
        (8, (0, 0, 2), NONE, 1, (4, 1, 2)),
        (8, (1, 4, 2), NONE, 1, (1, 4, 2)),
        (8, (3, 0, 0), NONE, 1, (8, 1, 1)),
        (8, (8, 0, 0), (4, 0, 0), 1, (4, 2, 1)),
        (8, (0, 0, 2), (0, 0, 1), 1, (8, 1, 1)),
    ],
)
def test_choices(vcpus: int, wanted: tuple, largest: tuple, threads: int, found: tuple) -> None:
    chosen = shape.choose(vcpus, _shape(wanted), _shape(largest), threads)
    assert chosen is not None
    assert (chosen.sockets, chosen.cores, chosen.threads) == found


def test_limits_that_leave_nothing() -> None:
    assert shape.choose(7, CpuShape(), _shape((2, 2, 2))) is None


def _shape(parts: tuple[int, int, int]) -> CpuShape:
    return CpuShape(sockets=parts[0], cores=parts[1], threads=parts[2])
