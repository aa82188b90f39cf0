"""Who chooses: this project's scheduler as it decides in earnest, and two that need no thought."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from benchmarks.simulation.day import SIZES
from benchmarks.simulation.region import Region
from protonova.common.v1 import flavor_pb2
from protonova.scheduler.v1 import scheduler_pb2
from protonova.services.runtime import config
from protonova.services.scheduler import filters, options, weighers  # noqa: F401 - registers the options
from protonova.services.scheduler.destinations import planner
from protonova.services.scheduler.hosts import HostKind, HostLoad, HostRecord
from protonova.services.scheduler.offer import Offer
from protonova.services.scheduler.planning import Rules
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.view import HostView

Rows = npt.NDArray[np.intp]
_CLASSES = ("VCPU", "MEMORY_MB", "DISK_GB")


class Policy(Protocol):
    """`choose` answers a host's row for each server of a request, -1 for one without; it may count on being told
    of every server that comes (as soon as it is chosen) or goes."""

    name: str

    def choose(self, size: int, count: int) -> list[int]: ...

    def moved(self, host: int, size: int, sign: int) -> None: ...


class Scheduler:
    """The planner with the default filters and weighers, over a view kept as feeds would keep it. `most` is how
    many candidates placement offers, in random order; 0 = all hosts with room."""

    def __init__(self, region: Region, chance: np.random.Generator, most: int = 0) -> None:
        self.name = f"scheduler, {most:,} candidates" if most else "scheduler, all candidates"
        self._region = region
        self._chance = chance
        self._most = most
        conf = config.load(files=[])
        self._rules = Rules(filters.place(conf), filters.load(conf), weighers.load(conf))
        self._view = HostView()
        self._nodes = [str(uuid.UUID(int=number + 1)) for number in range(len(region.capacity))]
        self._row_of = {node: row for row, node in enumerate(self._nodes)}
        self._specs = [_spec(number) for number in range(len(SIZES))]
        self._amounts = [dict(zip(_CLASSES, map(int, size), strict=True)) for size in SIZES]
        kind = HostKind(hypervisor_type="QEMU", hypervisor_version=8_002_000, architecture="x86_64")
        for row, node in enumerate(self._nodes):
            vcpus, memory_mb, local_gb = (int(number) for number in region.capacity[row])
            name = f"host-{row:06}"
            record = HostRecord(
                node, name, name, "cell", kind=kind, vcpus=vcpus, memory_mb=memory_mb, local_gb=local_gb
            )
            self._view.put_host(record)
            self._tell(row)

    def offered(self, size: int) -> Offer:
        """What placement would answer; its time is not the scheduler's."""
        rows = np.flatnonzero(self._region.fitting(size))
        if self._most and len(rows) > self._most:
            rows = self._chance.choice(rows, size=self._most, replace=False)
        return Offer([self._nodes[row] for row in rows.tolist()], self._amounts[size])

    def decide(self, size: int, count: int, offer: Offer) -> list[int]:
        """What the scheduler does itself."""
        servers = [str(number) for number in range(count)]
        plan = planner(self._view, self._rules, Request(self._specs[size]), offer).plan(servers, 0)
        found: Mapping[str, int] = {
            pick.server_id: self._row_of[pick.place.host.node_id] for pick in plan.picks
        }
        return [found.get(server, -1) for server in servers]

    def choose(self, size: int, count: int) -> list[int]:
        return self.decide(size, count, self.offered(size))

    def moved(self, host: int, size: int, sign: int) -> None:
        self._tell(host)

    def _tell(self, row: int) -> None:
        free = dict(zip(_CLASSES, map(int, self._region.free[row]), strict=True))
        self._view.put_provider(self._nodes[row], self._nodes[row], free)
        self._view.put_load(self._nodes[row], HostLoad(servers=int(self._region.servers[row])))


class RandomHost:
    """Any host with room."""

    name = "random"

    def __init__(self, region: Region, chance: np.random.Generator) -> None:
        self._region = region
        self._chance = chance

    def choose(self, size: int, count: int) -> list[int]:
        return _one_by_one(self._region, size, count, lambda rows: int(self._chance.choice(rows)))

    def moved(self, host: int, size: int, sign: int) -> None:
        return


class FirstFit:
    """The first host with room."""

    name = "first fit"

    def __init__(self, region: Region) -> None:
        self._region = region

    def choose(self, size: int, count: int) -> list[int]:
        return _one_by_one(self._region, size, count, lambda rows: int(rows[0]))

    def moved(self, host: int, size: int, sign: int) -> None:
        return


def _one_by_one(region: Region, size: int, count: int, pick: Callable[[Rows], int]) -> list[int]:
    """Each server counts those before it."""
    free = region.free.copy() if count > 1 else region.free
    chosen: list[int] = []
    for _ in range(count):
        rows = np.flatnonzero((free >= SIZES[size]).all(axis=1))
        if not len(rows):
            return chosen + [-1] * (count - len(chosen))
        chosen.append(pick(rows))
        if count > 1:
            free[chosen[-1]] -= SIZES[size]
    return chosen


def _spec(size: int) -> scheduler_pb2.RequestSpec:
    vcpus, memory_mb, root_gb = (int(number) for number in SIZES[size])
    flavor = flavor_pb2.Flavor(
        id=str(size), name=f"size-{size}", vcpus=vcpus, memory_mb=memory_mb, root_gb=root_gb
    )
    return scheduler_pb2.RequestSpec(project_id="project", user_id="user", flavor=flavor)
