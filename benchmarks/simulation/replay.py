"""Runs one policy through the day and notes how it goes."""

from __future__ import annotations

import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.simulation.day import DAY, Arrival
from benchmarks.simulation.policies import Policy, Scheduler
from benchmarks.simulation.region import Reading, Region

_READINGS = 96


@dataclass(slots=True)
class Result:
    """`decisions` are seconds, one a request; `readings` are taken every quarter of an hour."""

    policy: str
    placed: int = 0
    refused: int = 0
    decisions: list[float] = field(default_factory=list)
    readings: list[tuple[float, Reading]] = field(default_factory=list)

    def percentile_ms(self, percent: float) -> float:
        return float(np.percentile(self.decisions, percent)) * 1_000


def replay(policy: Policy, region: Region, arrivals: Sequence[Arrival]) -> Result:
    """Servers whose request cannot be served whole are refused one by one: each that fits is placed."""
    result = Result(policy.name)
    leaving: list[tuple[float, int, int]] = []
    next_reading = 0.0
    for arrival in arrivals:
        while next_reading <= arrival.at:
            _leave(policy, region, leaving, next_reading)
            result.readings.append((next_reading, region.read()))
            next_reading += DAY / _READINGS
        _leave(policy, region, leaving, arrival.at)
        hosts, seconds = _decided(policy, arrival)
        result.decisions.append(seconds)
        for host, life in zip(hosts, arrival.lives, strict=True):
            if host < 0:
                result.refused += 1
                continue
            result.placed += 1
            region.take(host, arrival.size)
            policy.moved(host, arrival.size, 1)
            heapq.heappush(leaving, (arrival.at + life, host, arrival.size))
    _leave(policy, region, leaving, DAY)
    result.readings.append((DAY, region.read()))
    return result


def _decided(policy: Policy, arrival: Arrival) -> tuple[list[int], float]:
    """The choice and how long it took; what placement does before it does not count."""
    count = len(arrival.lives)
    if isinstance(policy, Scheduler):
        offered = policy.offered(arrival.size)
        began = time.perf_counter()
        return policy.decide(arrival.size, count, offered), time.perf_counter() - began
    began = time.perf_counter()
    return policy.choose(arrival.size, count), time.perf_counter() - began


def _leave(policy: Policy, region: Region, leaving: list[tuple[float, int, int]], until: float) -> None:
    while leaving and leaving[0][0] <= until:
        _, host, size = heapq.heappop(leaving)
        region.take(host, size, -1)
        policy.moved(host, size, -1)
