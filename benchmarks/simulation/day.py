"""The day: what is asked for and when, and the hosts it is asked of. All of it follows from a seed.

Requests arrive as a Poisson process whose rate swings over the day (a third of the mean at 02:00, five thirds at
14:00). Their sizes, their number of servers and how long these live are drawn from the tables below.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DAY = 86_400.0
Numbers = npt.NDArray[np.int64]

# VCPUs, memory in MiB, disk in GiB; how often they are asked for.
SIZES = np.array(
    [
        (1, 2_048, 20),
        (2, 4_096, 40),
        (4, 8_192, 80),
        (8, 16_384, 160),
        (4, 32_768, 100),
        (16, 65_536, 320),
        (32, 131_072, 640),
    ],
    dtype=np.int64,
)
_SIZE_WEIGHTS = (0.34, 0.24, 0.18, 0.12, 0.05, 0.05, 0.02)
# Servers of one request.
_COUNTS = (1, 2, 5, 10, 50, 200)
_COUNT_WEIGHTS = (0.55, 0.15, 0.12, 0.1, 0.06, 0.02)
# Lifetimes are log-normal: half of the servers are gone after two hours, a tenth stays longer than a day.
_LIFE_MEDIAN = 2 * 3_600.0
_LIFE_SIGMA = 1.94
# VCPUs (before the ratio), memory in MiB, disk in GiB; their share of the hosts.
_HOSTS = np.array([(64, 262_144, 6_000), (96, 393_216, 8_000), (128, 524_288, 12_000)], dtype=np.int64)
_HOST_WEIGHTS = (0.5, 0.3, 0.2)
CPU_RATIO = 2


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request: seconds since midnight, a row of `SIZES`, and for each server how many seconds it lives."""

    at: float
    size: int
    lives: tuple[float, ...]


def capacities(hosts: int, chance: np.random.Generator) -> Numbers:
    """A row a host: VCPUs with their ratio, memory, disk."""
    kinds = chance.choice(len(_HOSTS), size=hosts, p=_HOST_WEIGHTS)
    found = _HOSTS[kinds].copy()
    found[:, 0] *= CPU_RATIO
    return found


def arrivals(requests: int, chance: np.random.Generator) -> list[Arrival]:
    """The requests of the day, in order."""
    times = np.sort(_times(requests, chance))
    sizes = chance.choice(len(SIZES), size=requests, p=_SIZE_WEIGHTS)
    counts = chance.choice(_COUNTS, size=requests, p=_COUNT_WEIGHTS)
    return [
        Arrival(float(at), int(size), tuple(_lives(int(count), chance)))
        for at, size, count in zip(times, sizes, counts, strict=True)
    ]


def residents(capacity: Numbers, share: float, chance: np.random.Generator) -> tuple[Numbers, Numbers]:
    """Servers that are there at midnight, until about this share of the memory is taken: for each the row of
    its host, and that of its size. They are spread evenly but for chance, and stay the whole day."""
    mean = float(SIZES[:, 1] @ np.array(_SIZE_WEIGHTS))
    wanted = int(capacity[:, 1].sum() * share / mean)
    hosts = chance.integers(len(capacity), size=wanted)
    sizes = chance.choice(len(SIZES), size=wanted, p=_SIZE_WEIGHTS)
    fitting = np.ones(wanted, dtype=np.bool_)
    for column in range(capacity.shape[1]):
        taken = _running_totals(hosts, SIZES[sizes, column])
        fitting &= taken <= capacity[hosts, column]
    return hosts[fitting], sizes[fitting]


def _running_totals(hosts: Numbers, amounts: Numbers) -> Numbers:
    """For each server what those before it and itself take of its host."""
    order = np.argsort(hosts, kind="stable")
    summed = np.cumsum(amounts[order])
    first = np.r_[True, np.diff(hosts[order]) != 0]
    before = np.maximum.accumulate(np.where(first, summed - amounts[order], 0))
    totals = np.empty_like(summed)
    totals[order] = summed - before
    return totals


def _times(requests: int, chance: np.random.Generator) -> npt.NDArray[np.float64]:
    """Drawn uniformly and kept by the rate of their hour, until there are enough."""
    found = np.empty(0)
    while len(found) < requests:
        drawn = chance.uniform(0, DAY, size=2 * requests)
        rate = 1 + 2 / 3 * np.cos(2 * np.pi * (drawn / DAY - 14 / 24))
        found = np.concatenate([found, drawn[chance.uniform(0, 5 / 3, size=len(drawn)) < rate]])
    return found[:requests]


def _lives(count: int, chance: np.random.Generator) -> list[float]:
    drawn: list[float] = chance.lognormal(np.log(_LIFE_MEDIAN), _LIFE_SIGMA, size=count).tolist()
    return drawn
