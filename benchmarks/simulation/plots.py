"""Pictures of a day, by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np

from benchmarks.simulation.replay import Result

mpl.use("agg")

from matplotlib import pyplot as plt

_OVER_TIME = (
    ("memory", "memory taken, % of all"),
    ("vcpus", "VCPUs taken, % of all"),
    ("fragmentation", "free memory of no use to the largest size, %"),
    ("spread", "standard deviation of hosts' taken memory, %"),
)


def draw(results: Sequence[Result], folder: Path) -> list[Path]:
    """One picture of how the region stood over the day, and one of the decisions' times."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_over_time(results, folder / "day.svg"), _times(results, folder / "decisions.svg")]


def _over_time(results: Sequence[Result], path: Path) -> Path:
    figure, axes = plt.subplots(2, 2, figsize=(12, 8), sharex=True)
    for axis, (name, label) in zip(axes.flat, _OVER_TIME, strict=True):
        for result in results:
            hours = [at / 3_600 for at, _ in result.readings]
            axis.plot(hours, [getattr(each, name) * 100 for _, each in result.readings], label=result.policy)
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    for axis in axes[1]:
        axis.set_xlabel("hour of the day")
    axes[0][0].legend()
    return _save(figure, path)


def _times(results: Sequence[Result], path: Path) -> Path:
    figure, axis = plt.subplots(figsize=(8, 5))
    for result in results:
        times = np.sort(np.array(result.decisions)) * 1_000
        axis.plot(times, np.linspace(0, 100, len(times)), label=result.policy)
    axis.set_xscale("log")
    axis.set_xlabel("a decision took at most, ms")
    axis.set_ylabel("% of the requests")
    axis.grid(alpha=0.3)
    axis.legend()
    return _save(figure, path)


def _save(figure: plt.Figure, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
    return path
