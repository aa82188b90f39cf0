"""PCI devices: hosts that have enough free ones of what is asked for."""

from __future__ import annotations

import numpy as np

from protonova.services.scheduler import devices
from protonova.services.scheduler.filters.filter import Filter, each_row, everyone
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.view import HostTable, Mask


class PciPassthroughFilter(Filter):
    """The host has the PCI devices that are asked for, wherever they are in it.

    Earlier servers of the same request are counted as if they were there, and so are servers claimed for a moment
    ago. Whether devices are near enough to NUMA cells is NUMATopologyFilter's to say.
    """

    name = "PciPassthroughFilter"
    once = False

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        if not request.spec.pci_requests:
            return everyone(hosts)
        wanted = request.wanted.anywhere()

        def judge(row: int) -> bool:
            host = hosts.having(row)
            return bool(host.devices) and devices.fits(host.anywhere(), wanted, place(hosts, row, request))

        return each_row(hosts, judge)

    def reason(self, hosts: HostTable, row: int, request: Request) -> str:
        wanted = request.wanted.anywhere()
        return devices.why_not(hosts.having(row).anywhere(), wanted, place(hosts, row, request))

    def note(self, hosts: HostTable, fell: Mask, request: Request) -> str:
        return shortage(hosts, fell, request)


def shortage(hosts: HostTable, fell: Mask, request: Request) -> str:
    """How many devices are asked for, and the most that any of some hosts has free."""
    asked = devices.asked(request.wanted)
    most = [0] * len(asked)
    for row in np.flatnonzero(fell).tolist() if asked else ():
        host = hosts.having(row)
        if host.devices:
            found = devices.available(host, request.wanted, place(hosts, row, request))
            most = [max(pair) for pair in zip(most, found, strict=True)]
    return "; ".join(
        f"{count} of '{alias}' asked for, at most {free} free"
        for (alias, count), free in zip(asked, most, strict=True)
    )


def place(hosts: HostTable, row: int, request: Request) -> int:
    """Which of the request's servers there this would be, from 1."""
    return request.earlier[hosts.record(row).host] + 1
