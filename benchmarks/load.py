"""Closed loops: so many workers, each doing one thing after another; and what the times add up to."""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Times:
    """Durations in seconds, and how long it all took."""

    samples: Sequence[float]
    elapsed: float

    @property
    def rate(self) -> float:
        return len(self.samples) / self.elapsed

    def percentile_ms(self, percent: float) -> float:
        ordered = sorted(self.samples)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] * 1000

    @property
    def median_ms(self) -> float:
        return statistics.median(self.samples) * 1000


def repeat(action: Callable[[], object], count: int, *, warm_up: int = 5) -> Times:
    """One after another."""
    for _ in range(warm_up):
        action()
    return spread(lambda _: action(), range(count), workers=1)


def spread(action: Callable[[int], object], items: Sequence[int] | range, *, workers: int) -> Times:
    """Each item once, by as many workers; the first failure is raised after all have stopped."""
    numbers = iter(items)
    lock = threading.Lock()
    samples: list[float] = []
    failures: list[BaseException] = []

    def work() -> None:
        while not failures:
            with lock:
                taken = list(itertools.islice(numbers, 1))
            if not taken:
                return
            started = time.perf_counter()
            try:
                action(taken[0])
            except BaseException as error:  # noqa: BLE001 - raised again below, by the caller's thread
                failures.append(error)
                return
            samples.append(time.perf_counter() - started)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return Times(samples, time.perf_counter() - began)
