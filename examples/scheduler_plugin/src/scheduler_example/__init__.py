"""A filter and a weigher of one's own. Installed beside the scheduler, they are enabled by their names:

[filter_scheduler]
enabled_filters = ComputeFilter,ComputeCapabilitiesFilter,ImagePropertiesFilter,RackFilter
weighers = all,ArchiveWeigher
"""

from __future__ import annotations

import numpy as np

from protonova.services.scheduler.filters.filter import Filter, each, everyone
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable, Mask
from protonova.services.scheduler.weighers.weigher import Weigher, Weights


class RackFilter(Filter):
    """The host is in the rack that the hint `rack` names: hosts are called by their racks, as in "r12-04"."""

    name = "RackFilter"

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        wanted = request.hint_texts("rack")
        if not wanted:
            return everyone(hosts)
        return each(hosts, lambda record: record.host.partition("-")[0] in wanted)


class ArchiveWeigher(Weigher):
    """Hosts with much disk for their processors come first. An aggregate's metadata `archive_weight_multiplier`
    says how much that counts there; an option of one's own would do as well."""

    name = "ArchiveWeigher"
    option = "disk_weight_multiplier"
    aggregate_key = "archive_weight_multiplier"

    def raw(self, hosts: HostTable, request: Request) -> Weights:
        return hosts.local_gb / np.maximum(hosts.vcpus, 1)
