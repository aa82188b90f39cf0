"""Lets every host pass."""

from __future__ import annotations

from protonova.services.scheduler.filters.filter import Filter, everyone
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable, Mask


class AllHostsFilter(Filter):
    name = "AllHostsFilter"

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        return everyone(hosts)
