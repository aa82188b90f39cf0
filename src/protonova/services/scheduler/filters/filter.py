"""What a filter is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from protonova.services.runtime.config import Conf
from protonova.services.scheduler.hosts import HostRecord
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable, Mask


class Filter(ABC):
    """Says which hosts may take a server. `once` = the answer is the same for all servers of one request;
    `rebuild` = it is also asked before a server is made anew of another image where it is."""

    name: ClassVar[str]
    once: ClassVar[bool] = True
    rebuild: ClassVar[bool] = False

    def __init__(self, conf: Conf) -> None:
        self.conf = conf

    @abstractmethod
    def passing(self, hosts: HostTable, request: Request) -> Mask:
        """A mask over the rows of the table. Raises `errors.InvalidArgument` for a request that makes no sense:
        its servers then get no host, and that reason."""

    def reason(self, hosts: HostTable, row: int, request: Request) -> str:
        """Why one host does not pass, in words; empty where the rule says enough."""
        return ""

    def note(self, hosts: HostTable, fell: Mask, request: Request) -> str:
        """What the hosts that do not pass are short of, in words; empty where the name says enough."""
        return ""


def everyone(hosts: HostTable) -> Mask:
    return np.ones(len(hosts), dtype=np.bool_)


def each(hosts: HostTable, judge: Callable[[HostRecord], bool]) -> Mask:
    """One judgement a host, for what neither numbers nor kinds can say."""
    return np.fromiter((judge(record) for record in hosts.records), dtype=np.bool_, count=len(hosts))


def each_row(hosts: HostTable, judge: Callable[[int], bool]) -> Mask:
    """The same by row."""
    return np.fromiter(map(judge, range(len(hosts))), dtype=np.bool_, count=len(hosts))
