"""Hosts that were tried before."""

from __future__ import annotations

from protonova.services.scheduler.filters.filter import Filter
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable, Mask


class RetryFilter(Filter):
    """The host has not been tried in this request yet."""

    name = "RetryFilter"

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        return ~hosts.named(request.spec.tried_hosts)
