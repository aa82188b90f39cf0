"""What a weigher is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from protonova.services.runtime.config import Conf
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.view import HostTable

Weights = npt.NDArray[np.float64]


class Weigher(ABC):
    """Ranks hosts. What counts is where a host stands between the lowest and the highest raw value, 0 to 1, times
    the multiplier of the option named here."""

    name: ClassVar[str]
    option: ClassVar[str]

    def __init__(self, conf: Conf) -> None:
        self.multiplier: float = conf.filter_scheduler[self.option]

    @abstractmethod
    def raw(self, hosts: HostTable, request: Request) -> Weights:
        """A number for each row of the table."""

    def weights(self, raw: Weights) -> Weights:
        lowest, highest = raw.min(), raw.max()
        if lowest == highest:
            return np.zeros(len(raw))
        return self.multiplier * ((raw - lowest) / (highest - lowest))
