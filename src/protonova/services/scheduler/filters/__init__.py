"""Filters: each says which hosts may take a server. `load` makes those an operator has enabled."""

from __future__ import annotations

from protonova.services.runtime import errors
from protonova.services.runtime.config import Conf
from protonova.services.scheduler.filters.all_hosts import AllHostsFilter
from protonova.services.scheduler.filters.compute import ComputeFilter
from protonova.services.scheduler.filters.compute_capabilities import ComputeCapabilitiesFilter
from protonova.services.scheduler.filters.filter import Filter
from protonova.services.scheduler.filters.image_format import ImageFormat
from protonova.services.scheduler.filters.image_properties import ImagePropertiesFilter
from protonova.services.scheduler.filters.requested_place import RequestedPlace
from protonova.services.scheduler.filters.server_group import (
    ServerGroupAffinityFilter,
    ServerGroupAntiAffinityFilter,
)

AVAILABLE: dict[str, type[Filter]] = {
    kind.name: kind
    for kind in (
        AllHostsFilter,
        ComputeFilter,
        ComputeCapabilitiesFilter,
        ImagePropertiesFilter,
        ServerGroupAntiAffinityFilter,
        ServerGroupAffinityFilter,
    )
}


def place(conf: Conf) -> Filter:
    """The one that is always asked."""
    return RequestedPlace(conf)


def load(conf: Conf) -> list[Filter]:
    """In the operator's order. Raises FILTER_UNKNOWN."""
    found: list[Filter] = []
    for name in conf.filter_scheduler.enabled_filters:
        kind = AVAILABLE.get(name)
        if kind is None:
            raise errors.InvalidArgument(f"There is no filter {name}.", reason="FILTER_UNKNOWN", filter=name)
        found.append(kind(conf))
    if conf.scheduler.query_placement_for_image_type_support:
        found.append(ImageFormat(conf))
    return found
