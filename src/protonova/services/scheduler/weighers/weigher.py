"""What a weigher is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from protonova.services.runtime.config import Conf
from protonova.services.scheduler import overrides
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable, Rows

Weights = npt.NDArray[np.float64]


class Weigher(ABC):
    """Ranks hosts. What counts is where a host stands between the lowest and the highest raw value of those that
    are left, 0 to 1, times a multiplier: the option named here, or what the host's aggregates say under
    `aggregate_key` (by default the option's name; the smallest where several do)."""

    name: ClassVar[str]
    option: ClassVar[str]
    group: ClassVar[str] = "filter_scheduler"
    aggregate_key: ClassVar[str] = ""

    def __init__(self, conf: Conf) -> None:
        self.multiplier: float = conf[self.group][self.option]
        self._key = self.aggregate_key or self.option

    @abstractmethod
    def raw(self, hosts: HostTable, request: Request) -> Weights:
        """A number for each row of the table."""

    def counts(self, hosts: HostTable) -> bool:
        """Whether it can make a difference."""
        return bool(self.multiplier) or self._key in hosts.metadata_keys

    def settled(self, request: Request) -> bool:
        """Whether the raw numbers are the same for all servers of a request, wherever the earlier ones go."""
        return False

    def weights(self, hosts: HostTable, rows: Rows, request: Request) -> Weights:
        """A number for each of some rows."""
        return self.scaled(self.raw(hosts, request), hosts, rows)

    def scaled(self, raw: Weights, hosts: HostTable, rows: Rows) -> Weights:
        """What the raw numbers of some rows count."""
        raw = raw[rows]
        lowest, highest = raw.min(), raw.max()
        if lowest == highest:
            return np.zeros(len(raw))
        scaled = (raw - lowest) / (highest - lowest)
        if self._key in hosts.metadata_keys:
            return scaled * overrides.numbers(hosts, self._key, self.multiplier)[rows]
        return scaled * self.multiplier
