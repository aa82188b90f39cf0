"""Room on a host, counted by ratios of these filters' own.

Placement has counted room already, by the ratios of its inventories. These are for operators who want less to be
sold than placement would, on some hosts or for some time, or who place by exact fit.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from protonova.services.scheduler import overrides
from protonova.services.scheduler.demand import disk_gb
from protonova.services.scheduler.filters.filter import Filter
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable, Mask, Numbers


class _Room(Filter):
    """What there is, times the ratio, less what is reserved or allocated, is at least what is asked."""

    once = False
    # The option in group filter_scheduler.
    ratio: ClassVar[str]
    # Whether aggregates may set the ratio, by the option's name.
    by_aggregate: ClassVar[bool] = False

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        option = float(self.conf.filter_scheduler[self.ratio])
        if self.by_aggregate:
            ratios = overrides.numbers(hosts, self.ratio, option)
        else:
            ratios = np.full(len(hosts), option)
        return self.there_is(hosts) * ratios - self.taken(hosts) >= self.asked(request)

    @abstractmethod
    def there_is(self, hosts: HostTable) -> Numbers: ...

    @abstractmethod
    def taken(self, hosts: HostTable) -> Numbers: ...

    @abstractmethod
    def asked(self, request: Request) -> int: ...


class CoreFilter(_Room):
    """VCPUs of the host times `cpu_allocation_ratio`, less those taken, are at least the flavor's."""

    name = "CoreFilter"
    ratio = "cpu_allocation_ratio"

    def there_is(self, hosts: HostTable) -> Numbers:
        return hosts.vcpus

    def taken(self, hosts: HostTable) -> Numbers:
        return hosts.taken_vcpus

    def asked(self, request: Request) -> int:
        return request.spec.flavor.vcpus


class AggregateCoreFilter(CoreFilter):
    """As CoreFilter, with the ratio of the host's aggregates where they have one."""

    name = "AggregateCoreFilter"
    by_aggregate = True


class RamFilter(_Room):
    """Memory of the host times `ram_allocation_ratio`, less what is taken, is at least the flavor's."""

    name = "RamFilter"
    ratio = "ram_allocation_ratio"

    def there_is(self, hosts: HostTable) -> Numbers:
        return hosts.memory_mb

    def taken(self, hosts: HostTable) -> Numbers:
        return hosts.taken_memory_mb

    def asked(self, request: Request) -> int:
        return request.spec.flavor.memory_mb


class AggregateRamFilter(RamFilter):
    """As RamFilter, with the ratio of the host's aggregates where they have one."""

    name = "AggregateRamFilter"
    by_aggregate = True


class DiskFilter(_Room):
    """Disk of the host times `disk_allocation_ratio`, less what is taken, is at least root, ephemeral and swap."""

    name = "DiskFilter"
    ratio = "disk_allocation_ratio"

    def there_is(self, hosts: HostTable) -> Numbers:
        return hosts.local_gb

    def taken(self, hosts: HostTable) -> Numbers:
        return hosts.taken_disk_gb

    def asked(self, request: Request) -> int:
        return disk_gb(request.spec)


class AggregateDiskFilter(DiskFilter):
    """As DiskFilter, with the ratio of the host's aggregates where they have one."""

    name = "AggregateDiskFilter"
    by_aggregate = True


class ExactCoreFilter(Filter):
    """The host has exactly as many VCPUs as the flavor."""

    name = "ExactCoreFilter"

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        return hosts.vcpus == request.spec.flavor.vcpus


class ExactRamFilter(Filter):
    """Exactly as much memory of the host is free as the flavor has."""

    name = "ExactRamFilter"
    once = False

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        return hosts.memory_mb - hosts.taken_memory_mb == request.spec.flavor.memory_mb


class ExactDiskFilter(Filter):
    """Exactly as much disk of the host is free as root, ephemeral and swap take."""

    name = "ExactDiskFilter"
    once = False

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        return hosts.local_gb - hosts.taken_disk_gb == disk_gb(request.spec)
