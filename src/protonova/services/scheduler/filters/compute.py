"""Hosts whose compute service is up and enabled."""

from __future__ import annotations

from protonova.services.scheduler.filters.filter import Filter, each
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.view import HostTable, Mask


class ComputeFilter(Filter):
    name = "ComputeFilter"

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        return each(hosts, lambda host: host.up and not host.disabled)
