"""Hosts for one flavor."""

from __future__ import annotations

import numpy as np

from protonova.services.scheduler import overrides
from protonova.services.scheduler.filters.filter import Filter, everyone
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable, Mask


class TypeAffinityFilter(Filter):
    """All servers on the host are of the flavor that is asked for; an empty host takes any."""

    name = "TypeAffinityFilter"

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        flavor = request.spec.flavor.id
        return np.fromiter(
            (not load.flavors.keys() - {flavor} for load in hosts.loads), dtype=np.bool_, count=len(hosts)
        )


class AggregateTypeAffinityFilter(Filter):
    """The host's aggregates list the flavor's name under `instance_type`, or have no such key."""

    name = "AggregateTypeAffinityFilter"
    key = "instance_type"

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        if self.key not in hosts.metadata_keys:
            return everyone(hosts)
        flavor = request.spec.flavor.name
        return hosts.by_aggregates(
            lambda aggregates: not (names := overrides.items(aggregates, self.key)) or flavor in names
        )
