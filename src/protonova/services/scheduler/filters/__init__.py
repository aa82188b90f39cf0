"""Filters: each says which hosts may take a server. `load` makes those an operator has enabled."""

from __future__ import annotations

from protonova.services.runtime import errors
from protonova.services.runtime.config import Conf
from protonova.services.scheduler import plugins
from protonova.services.scheduler.filters.aggregates import (
    AggregateImagePropertiesIsolation,
    AggregateInstanceExtraSpecsFilter,
    AggregateMultiTenancyIsolation,
    AvailabilityZoneFilter,
)
from protonova.services.scheduler.filters.all_hosts import AllHostsFilter
from protonova.services.scheduler.filters.capacity import (
    AggregateCoreFilter,
    AggregateDiskFilter,
    AggregateRamFilter,
    CoreFilter,
    DiskFilter,
    ExactCoreFilter,
    ExactDiskFilter,
    ExactRamFilter,
    RamFilter,
)
from protonova.services.scheduler.filters.compute import ComputeFilter
from protonova.services.scheduler.filters.compute_capabilities import ComputeCapabilitiesFilter
from protonova.services.scheduler.filters.filter import Filter
from protonova.services.scheduler.filters.flavor_type import AggregateTypeAffinityFilter, TypeAffinityFilter
from protonova.services.scheduler.filters.hints import (
    DifferentHostFilter,
    SameHostFilter,
    SimpleCIDRAffinityFilter,
)
from protonova.services.scheduler.filters.host_load import (
    AggregateIoOpsFilter,
    AggregateNumInstancesFilter,
    IoOpsFilter,
    NumInstancesFilter,
)
from protonova.services.scheduler.filters.image_properties import ImagePropertiesFilter
from protonova.services.scheduler.filters.isolated_hosts import IsolatedHostsFilter
from protonova.services.scheduler.filters.json_query import JsonFilter
from protonova.services.scheduler.filters.metrics import MetricsFilter
from protonova.services.scheduler.filters.numa_topology import NUMATopologyFilter
from protonova.services.scheduler.filters.pci_passthrough import PciPassthroughFilter
from protonova.services.scheduler.filters.requested_place import RequestedPlace
from protonova.services.scheduler.filters.retry import RetryFilter
from protonova.services.scheduler.filters.server_group import (
    ServerGroupAffinityFilter,
    ServerGroupAntiAffinityFilter,
)
from protonova.services.scheduler.filters.trusted import TrustedFilter

ENTRY_POINTS = "protonova.scheduler.filters"

AVAILABLE: dict[str, type[Filter]] = {
    kind.name: kind
    for kind in (
        AllHostsFilter,
        ComputeFilter,
        ComputeCapabilitiesFilter,
        ImagePropertiesFilter,
        ServerGroupAntiAffinityFilter,
        ServerGroupAffinityFilter,
        AggregateInstanceExtraSpecsFilter,
        AggregateImagePropertiesIsolation,
        AggregateMultiTenancyIsolation,
        AggregateTypeAffinityFilter,
        AggregateNumInstancesFilter,
        NumInstancesFilter,
        AggregateIoOpsFilter,
        IoOpsFilter,
        DifferentHostFilter,
        SameHostFilter,
        SimpleCIDRAffinityFilter,
        IsolatedHostsFilter,
        JsonFilter,
        MetricsFilter,
        AvailabilityZoneFilter,
        CoreFilter,
        AggregateCoreFilter,
        RamFilter,
        AggregateRamFilter,
        DiskFilter,
        AggregateDiskFilter,
        RetryFilter,
        TrustedFilter,
        TypeAffinityFilter,
        ExactCoreFilter,
        ExactRamFilter,
        ExactDiskFilter,
        NUMATopologyFilter,
        PciPassthroughFilter,
    )
}


def place(conf: Conf) -> Filter:
    """The one that is always asked."""
    return RequestedPlace(conf)


def strict(conf: Conf) -> list[Filter]:
    """Those that members of server groups are held to."""
    return [ServerGroupAntiAffinityFilter(conf), ServerGroupAffinityFilter(conf)]


def load(conf: Conf) -> list[Filter]:
    """In the operator's order. Raises FILTER_UNKNOWN, PLUGIN_INVALID, OPTION_INVALID."""
    options = conf.filter_scheduler
    available = plugins.named(options.available_filters, AVAILABLE)
    found: list[Filter] = []
    for name in plugins.named(options.enabled_filters, AVAILABLE):
        kind = plugins.find(name, AVAILABLE, ENTRY_POINTS, Filter)
        # A plug-in that is enabled by its name is meant.
        if kind is None or (name in AVAILABLE and name not in available):
            known = "There is no filter" if kind is None else "available_filters does not list the filter"
            raise errors.InvalidArgument(f"{known} {name}.", reason="FILTER_UNKNOWN", filter=name)
        found.append(kind(conf))
    return found
