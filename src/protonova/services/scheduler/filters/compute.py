"""Hosts whose compute service is up and enabled."""

from __future__ import annotations

from protonova.services.scheduler.filters.filter import Filter
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable, Mask


class ComputeFilter(Filter):
    """The compute service of the host is heard and not disabled."""

    name = "ComputeFilter"

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        return hosts.serving
