"""`python -m benchmarks.simulate`: a day of a large region, by several ways of choosing hosts.

The same arrivals meet the same hosts once for each policy: this project's scheduler with all hosts that have room,
the same with as many candidates as placement is asked for by default, a random host, the first that fits. Told are
the times of decisions (without placement's), what was placed and refused, how full the region was, how much of its
free memory was in pieces, and how evenly hosts were taken.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.simulation import day
from benchmarks.simulation.policies import FirstFit, Policy, RandomHost, Scheduler
from benchmarks.simulation.region import Region
from benchmarks.simulation.replay import Result, replay

_CANDIDATES = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.simulate", description=__doc__)
    parser.add_argument("--hosts", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=5_000, help="of the day")
    parser.add_argument("--full", type=float, default=0.8, help="share of the memory taken at midnight")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="folder for figures.json and, with matplotlib, pictures")
    words = parser.parse_args()
    results = simulate(words.hosts, words.requests, words.full, words.seed)
    text = json.dumps([_told(result) for result in results], indent=2)
    print(text)
    _table(results)
    if words.out is not None:
        words.out.mkdir(parents=True, exist_ok=True)
        (words.out / "figures.json").write_text(text + "\n")
        try:
            from benchmarks.simulation import plots
        except ModuleNotFoundError as missing:
            print(f"No pictures: {missing.name} is not installed (extra `bench`).", file=sys.stderr)
            return
        for path in plots.draw(results, words.out):
            print(path, file=sys.stderr)


def simulate(hosts: int, requests: int, full: float, seed: int) -> list[Result]:
    """One result for each policy."""
    chance = np.random.default_rng(seed)
    capacity = day.capacities(hosts, chance)
    arrivals = day.arrivals(requests, chance)
    residents = day.residents(capacity, full, chance)
    policies: tuple[Callable[[Region], Policy], ...] = (
        lambda region: Scheduler(region, np.random.default_rng(seed)),
        lambda region: Scheduler(region, np.random.default_rng(seed), _CANDIDATES),
        lambda region: RandomHost(region, np.random.default_rng(seed)),
        FirstFit,
    )
    results = []
    for make in policies:
        region = Region(capacity, *residents)
        policy = make(region)
        print(f"{policy.name}: {hosts:,} hosts, {requests:,} requests", file=sys.stderr)
        results.append(replay(policy, region, arrivals))
    return results


def _told(result: Result) -> dict[str, object]:
    return {
        "policy": result.policy,
        "placed": result.placed,
        "refused": result.refused,
        "decision_ms": {f"p{percent}": round(result.percentile_ms(percent), 3) for percent in (50, 99)},
        "midnight": asdict(result.readings[0][1]),
        "end": asdict(result.readings[-1][1]),
    }


def _table(results: list[Result]) -> None:
    heads = ("policy", "placed", "refused", "p50 ms", "p99 ms", "memory %", "fragments %", "spread %")
    print(f"\n{heads[0]:28}" + "".join(f"{head:>12}" for head in heads[1:]))
    for result in results:
        end = result.readings[-1][1]
        figures = (
            f"{result.placed:,}",
            f"{result.refused:,}",
            f"{result.percentile_ms(50):.2f}",
            f"{result.percentile_ms(99):.2f}",
            f"{end.memory * 100:.1f}",
            f"{end.fragmentation * 100:.1f}",
            f"{end.spread * 100:.1f}",
        )
        print(f"{result.policy:28}" + "".join(f"{figure:>12}" for figure in figures))


if __name__ == "__main__":
    main()
