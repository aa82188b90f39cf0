"""Server groups: apart from each other, or together."""

from __future__ import annotations

from protonova.services.scheduler.filters.filter import Filter, everyone
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable, Mask


class ServerGroupAntiAffinityFilter(Filter):
    """Hosts with fewer members of the group than its rule allows."""

    name = "ServerGroupAntiAffinityFilter"
    once = False

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        group = request.group
        if group is None or group.policy != "anti-affinity":
            return everyone(hosts)
        return hosts.numbered(group.members_by_host) < group.max_per_host


class ServerGroupAffinityFilter(Filter):
    """Hosts that have members of the group; any, while there are none."""

    name = "ServerGroupAffinityFilter"
    once = False

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        group = request.group
        if group is None or group.policy != "affinity" or not +group.members_by_host:
            return everyone(hosts)
        return hosts.numbered(group.members_by_host) > 0
