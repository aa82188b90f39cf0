"""The truth of a simulated region: what is free on each host, and what that amounts to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.simulation.day import SIZES, Numbers

Mask = npt.NDArray[np.bool_]
# How much room a region has is asked in servers of the largest size.
_LARGEST = SIZES[-1]


@dataclass(frozen=True, slots=True)
class Reading:
    """How a region stands. Shares are 0 to 1.

    `vcpus` and `memory`: what is taken of it. `fragmentation`: of the free memory, what no server of the largest
    size could have. `spread`: standard deviation of the hosts' taken memory shares."""

    vcpus: float
    memory: float
    fragmentation: float
    spread: float


class Region:
    """Hosts by row. `free` has a column each for VCPUs, memory in MiB and disk in GiB."""

    def __init__(self, capacity: Numbers, hosts: Numbers, sizes: Numbers) -> None:
        self.capacity = capacity
        self.free = capacity.copy()
        np.subtract.at(self.free, hosts, SIZES[sizes])
        self.servers = np.bincount(hosts, minlength=len(capacity))

    def fitting(self, size: int) -> Mask:
        """Hosts with room for one server more."""
        mask: Mask = (self.free >= SIZES[size]).all(axis=1)
        return mask

    def take(self, host: int, size: int, sign: int = 1) -> None:
        """Raises `AssertionError` when a host would hold more than it can."""
        self.free[host] -= sign * SIZES[size]
        self.servers[host] += sign
        assert (self.free[host] >= 0).all(), f"host {host} is over-committed"

    def read(self) -> Reading:
        taken = 1 - self.free / self.capacity
        whole = (self.free // _LARGEST).min(axis=1)
        free_memory = int(self.free[:, 1].sum())
        usable = int(whole.sum() * _LARGEST[1])
        totals = 1 - self.free.sum(axis=0) / self.capacity.sum(axis=0)
        return Reading(
            vcpus=float(totals[0]),
            memory=float(totals[1]),
            fragmentation=1 - usable / free_memory if free_memory else 0.0,
            spread=float(taken[:, 1].std()),
        )
