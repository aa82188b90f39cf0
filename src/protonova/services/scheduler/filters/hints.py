"""Scheduler hints about other servers, and about the network a host is in."""

from __future__ import annotations

import ipaddress

from protonova.services.runtime import errors
from protonova.services.scheduler.filters.filter import Filter, each, everyone
from protonova.services.scheduler.hosts import HostRecord
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable, Mask


class DifferentHostFilter(Filter):
    """The host runs none of the servers that the hint `different_host` names."""

    name = "DifferentHostFilter"

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        return ~hosts.named(_hosts_of(request, "different_host"))


class SameHostFilter(Filter):
    """The host runs at least one of the servers that the hint `same_host` names. Servers that are nowhere are on
    no host: with such only, none passes."""

    name = "SameHostFilter"

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        if not request.hint_texts("same_host"):
            return everyone(hosts)
        return hosts.named(_hosts_of(request, "same_host"))


class SimpleCIDRAffinityFilter(Filter):
    """The host's address is in the network of the hint `build_near_host_ip`, as wide as the hint `cidr` says
    (/24)."""

    name = "SimpleCIDRAffinityFilter"

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        near = request.hint_texts("build_near_host_ip")
        if not near:
            return everyone(hosts)
        width = (request.hint_texts("cidr") or ["/24"])[0].removeprefix("/")
        try:
            network = ipaddress.ip_network(f"{near[0]}/{width}", strict=False)
        except ValueError:
            raise errors.InvalidArgument(
                f"The hints build_near_host_ip={near[0]}, cidr={width} name no network.",
                reason="HINT_INVALID",
                hint="build_near_host_ip",
            ) from None

        def judge(record: HostRecord) -> bool:
            try:
                return ipaddress.ip_address(record.host_ip) in network
            except ValueError:
                return False

        return each(hosts, judge)


def _hosts_of(request: Request, hint: str) -> set[str]:
    """Where the servers that a hint names are."""
    places = request.spec.hint_hosts
    return {places[server_id] for server_id in request.hint_texts(hint) if server_id in places}
