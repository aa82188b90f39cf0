"""Hosts with PCI devices for guests, which are left to those who ask for some."""

from __future__ import annotations

import numpy as np

from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable
from protonova.services.scheduler.weighers.weigher import Weigher, Weights

# Devices beyond this many make no difference.
_MOST = 100


class PCIWeigher(Weigher):
    """The fewer devices are free on a host, the better."""

    name = "PCIWeigher"
    option = "pci_weight_multiplier"

    def settled(self, request: Request) -> bool:
        return not request.spec.pci_requests

    def raw(self, hosts: HostTable, request: Request) -> Weights:
        free = hosts.free_devices
        if each := request.wanted.devices:
            free = free - hosts.numbered({host: count * each for host, count in request.earlier.items()})
        return (_MOST - np.clip(free, 0, _MOST - 1)).astype(np.float64)
