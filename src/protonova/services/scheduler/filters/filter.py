"""What a filter is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from protonova.services.runtime.config import Conf
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.view import HostRecord, HostTable, Mask


class Filter(ABC):
    """Says which hosts may take a server. `once` = the answer is the same for all servers of one request."""

    name: ClassVar[str]
    once: ClassVar[bool] = True

    def __init__(self, conf: Conf) -> None:
        self.conf = conf

    @abstractmethod
    def passing(self, hosts: HostTable, request: Request) -> Mask:
        """A mask over the rows of the table."""


def everyone(hosts: HostTable) -> Mask:
    return np.ones(len(hosts), dtype=np.bool_)


def each(hosts: HostTable, judge: Callable[[HostRecord], bool]) -> Mask:
    """One judgement a host, for what is not compared by number."""
    return np.fromiter((judge(record) for record in hosts.records), dtype=np.bool_, count=len(hosts))
