"""Where the request says it may go: a host, a cell, a zone, not some hosts. Always asked, not configured.

A cell that is disabled takes nothing new. Without filters (a host forced by an administrator) the zone does not
count.
"""

from __future__ import annotations

from protonova.services.scheduler.filters.filter import Filter, each
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable, Mask


class RequestedPlace(Filter):
    name = "RequestedPlace"

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        spec = request.spec
        mask = hosts.usable.copy()
        if spec.cell_id:
            mask &= hosts.cell == hosts.code(spec.cell_id)
        if spec.availability_zone and not spec.skip_filters:
            mask &= hosts.zone == hosts.code(spec.availability_zone)
        if spec.host:
            mask &= hosts.named([spec.host])
        if spec.node:
            mask &= each(hosts, lambda record: record.node == spec.node)
        if spec.ignore_hosts:
            mask &= ~hosts.named(spec.ignore_hosts)
        return mask
