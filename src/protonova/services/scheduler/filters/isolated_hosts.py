"""Hosts kept for some images."""

from __future__ import annotations

from protonova.services.scheduler.filters.filter import Filter, everyone
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable, Mask


class IsolatedHostsFilter(Filter):
    """Isolated images go to isolated hosts; other images only to other hosts, unless
    `restrict_isolated_hosts_to_isolated_images` is off."""

    name = "IsolatedHostsFilter"
    rebuild = True

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        options = self.conf.filter_scheduler
        isolated_image = bool(request.spec.image.id) and request.spec.image.id in options.isolated_images
        isolated_host = hosts.named(options.isolated_hosts)
        if isolated_image:
            return isolated_host
        if options.restrict_isolated_hosts_to_isolated_images:
            return ~isolated_host
        return everyone(hosts)
