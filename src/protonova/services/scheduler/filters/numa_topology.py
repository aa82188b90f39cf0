"""NUMA cells, dedicated CPUs and pages: hosts into which the guest can be fitted, with its PCI devices near to it.

A host that tells of no cells takes no guest that asks for some. The agent of a host fits the guest again, by what
its guests hold then: what is let through here by an old view costs another try, and no more.
"""

from __future__ import annotations

from protonova.services.scheduler import devices
from protonova.services.scheduler.filters.filter import Filter, each_row, everyone
from protonova.services.scheduler.filters.pci_passthrough import place, shortage
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.view import HostTable, Mask


class NUMATopologyFilter(Filter):
    """Earlier servers of the same request are counted as if they were there."""

    name = "NUMATopologyFilter"
    once = False

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        if not request.spec.HasField("numa_topology"):
            return everyone(hosts)
        wanted = request.wanted

        def judge(row: int) -> bool:
            host = hosts.having(row)
            told = host.cells and (host.devices or not wanted.requests)
            return bool(told) and devices.fits(host, wanted, place(hosts, row, request))

        return each_row(hosts, judge)

    def reason(self, hosts: HostTable, row: int, request: Request) -> str:
        return devices.why_not(hosts.having(row), request.wanted, place(hosts, row, request))

    def note(self, hosts: HostTable, fell: Mask, request: Request) -> str:
        return shortage(hosts, fell, request)
