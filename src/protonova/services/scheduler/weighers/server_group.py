"""Soft policies of server groups: near each other, or apart, as far as the other weighers let them."""

from __future__ import annotations

import numpy as np

from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable
from protonova.services.scheduler.weighers.weigher import Weigher, Weights


class ServerGroupSoftAffinityWeigher(Weigher):
    """Hosts with more members come first."""

    name = "ServerGroupSoftAffinityWeigher"
    option = "soft_affinity_weight_multiplier"

    def settled(self, request: Request) -> bool:
        return not _follows(request, "soft-affinity")

    def raw(self, hosts: HostTable, request: Request) -> Weights:
        return _members(hosts, request, "soft-affinity")


class ServerGroupSoftAntiAffinityWeigher(Weigher):
    """Hosts with fewer members come first."""

    name = "ServerGroupSoftAntiAffinityWeigher"
    option = "soft_anti_affinity_weight_multiplier"

    def settled(self, request: Request) -> bool:
        return not _follows(request, "soft-anti-affinity")

    def raw(self, hosts: HostTable, request: Request) -> Weights:
        return -_members(hosts, request, "soft-anti-affinity")


def _follows(request: Request, policy: str) -> bool:
    return request.group is not None and request.group.policy == policy


def _members(hosts: HostTable, request: Request, policy: str) -> Weights:
    """How many members each host has; none where the policy is another."""
    if request.group is None or not _follows(request, policy):
        return np.zeros(len(hosts))
    return hosts.numbered(request.group.members_by_host).astype(np.float64)
