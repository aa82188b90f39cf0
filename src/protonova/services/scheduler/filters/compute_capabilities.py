"""Flavor extra specs that name an attribute of a host, plainly or as `capabilities:<attribute>`.

A plain key that no host has is somebody else's and passes; one in the scope must be there. Keys of other scopes
are not looked at.
"""

from __future__ import annotations

import numpy as np

from protonova.services.scheduler.filters.filter import Filter, everyone
from protonova.services.scheduler.filters.matching import matches
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.view import HostTable, Mask

_SCOPE = "capabilities:"


class ComputeCapabilitiesFilter(Filter):
    name = "ComputeCapabilitiesFilter"

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        mask = everyone(hosts)
        for key, wanted in request.extra_specs.items():
            if key.startswith(_SCOPE):
                mask &= self._having(hosts, key.removeprefix(_SCOPE), wanted, absent=False)
            elif ":" not in key:
                mask &= self._having(hosts, key, wanted, absent=True)
        return mask

    def _having(self, hosts: HostTable, key: str, wanted: str, *, absent: bool) -> Mask:
        values = _column(hosts, key)
        if values is None:
            return everyone(hosts) if absent else ~everyone(hosts)
        known: dict[object, bool] = {}
        for value in values:
            if value not in known:
                known[value] = matches(value, wanted)
        return np.fromiter((known[value] for value in values), dtype=np.bool_, count=len(values))


def _column(hosts: HostTable, key: str) -> list[object] | None:
    """What the hosts have of an attribute; None when there is no such attribute."""
    records = hosts.records
    columns: dict[str, list[object]]
    if key in ("free_ram_mb", "free_disk_mb", "free_disk_gb", "vcpus_free"):
        return {
            "free_ram_mb": hosts.free_memory_mb.tolist(),
            "free_disk_mb": (hosts.free_disk_gb * 1024).tolist(),
            "free_disk_gb": hosts.free_disk_gb.tolist(),
            "vcpus_free": hosts.free_vcpus.tolist(),
        }[key]
    columns = {
        "host": [record.host for record in records],
        "id": [record.node_id for record in records],
        "uuid": [record.node_id for record in records],
        "nodename": [record.node for record in records],
        "hypervisor_hostname": [record.node for record in records],
        "hypervisor_type": [record.hypervisor_type for record in records],
        "hypervisor_version": [record.hypervisor_version for record in records],
        "architecture": [record.architecture for record in records],
        "vcpus": [record.vcpus for record in records],
        "vcpus_total": [record.vcpus for record in records],
        "memory_mb": [record.memory_mb for record in records],
        "local_gb": [record.local_gb for record in records],
    }
    return columns.get(key)
