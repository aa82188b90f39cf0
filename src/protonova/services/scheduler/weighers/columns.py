"""Weighers that look at one column."""

from __future__ import annotations

import numpy as np

from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable, Numbers
from protonova.services.scheduler.weighers.weigher import Weigher, Weights


class RAMWeigher(Weigher):
    """Free memory."""

    name = "RAMWeigher"
    option = "ram_weight_multiplier"

    def raw(self, hosts: HostTable, request: Request) -> Weights:
        return _not_negative(hosts.free_memory_mb)


class CPUWeigher(Weigher):
    """Free VCPUs, by the allocation ratio."""

    name = "CPUWeigher"
    option = "cpu_weight_multiplier"

    def raw(self, hosts: HostTable, request: Request) -> Weights:
        return _not_negative(hosts.free_vcpus)


class DiskWeigher(Weigher):
    """Free disk."""

    name = "DiskWeigher"
    option = "disk_weight_multiplier"

    def raw(self, hosts: HostTable, request: Request) -> Weights:
        return _not_negative(hosts.free_disk_gb)


class IoOpsWeigher(Weigher):
    """Servers being built, moved or saved on the host."""

    name = "IoOpsWeigher"
    option = "io_ops_weight_multiplier"

    def raw(self, hosts: HostTable, request: Request) -> Weights:
        return _not_negative(hosts.io_ops)


class BuildFailureWeigher(Weigher):
    """Hosts where builds failed lately come last."""

    name = "BuildFailureWeigher"
    option = "build_failure_weight_multiplier"

    def settled(self, request: Request) -> bool:
        return True

    def raw(self, hosts: HostTable, request: Request) -> Weights:
        return -hosts.failed_builds.astype(np.float64)


class HypervisorVersionWeigher(Weigher):
    """Newer hypervisors come first."""

    name = "HypervisorVersionWeigher"
    option = "hypervisor_version_weight_multiplier"

    def settled(self, request: Request) -> bool:
        return True

    def raw(self, hosts: HostTable, request: Request) -> Weights:
        return hosts.hypervisor_version.astype(np.float64)


class NumInstancesWeigher(Weigher):
    """Hosts with more servers come first; with a negative multiplier, last."""

    name = "NumInstancesWeigher"
    option = "num_instances_weight_multiplier"

    def raw(self, hosts: HostTable, request: Request) -> Weights:
        return hosts.num_instances.astype(np.float64)


def _not_negative(column: Numbers) -> Weights:
    return np.maximum(column, 0).astype(np.float64)
