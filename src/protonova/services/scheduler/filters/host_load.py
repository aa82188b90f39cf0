"""How much runs on a host already."""

from __future__ import annotations

from protonova.services.scheduler import overrides
from protonova.services.scheduler.filters.filter import Filter
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable, Mask


class NumInstancesFilter(Filter):
    """Fewer servers are on the host than `max_instances_per_host`."""

    name = "NumInstancesFilter"
    once = False

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        return hosts.num_instances < self.conf.filter_scheduler.max_instances_per_host


class AggregateNumInstancesFilter(Filter):
    """As NumInstancesFilter, with the limit of the host's aggregates where they have one."""

    name = "AggregateNumInstancesFilter"
    once = False

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        option = self.conf.filter_scheduler.max_instances_per_host
        return hosts.num_instances < overrides.numbers(hosts, "max_instances_per_host", option, int)


class IoOpsFilter(Filter):
    """Fewer servers of the host are being built, moved or saved than `max_io_ops_per_host`."""

    name = "IoOpsFilter"
    once = False

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        return hosts.io_ops < self.conf.filter_scheduler.max_io_ops_per_host


class AggregateIoOpsFilter(Filter):
    """As IoOpsFilter, with the limit of the host's aggregates where they have one."""

    name = "AggregateIoOpsFilter"
    once = False

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        option = self.conf.filter_scheduler.max_io_ops_per_host
        return hosts.io_ops < overrides.numbers(hosts, "max_io_ops_per_host", option, int)
