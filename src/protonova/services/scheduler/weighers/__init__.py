"""Weighers: each ranks hosts by one quality. `load` makes those an operator has chosen."""

from __future__ import annotations

from protonova.services.runtime import errors
from protonova.services.runtime.config import Conf
from protonova.services.scheduler import plugins
from protonova.services.scheduler.weighers.columns import (
    BuildFailureWeigher,
    CPUWeigher,
    DiskWeigher,
    HypervisorVersionWeigher,
    IoOpsWeigher,
    NumInstancesWeigher,
    RAMWeigher,
)
from protonova.services.scheduler.weighers.images import ImagePropertiesWeigher
from protonova.services.scheduler.weighers.metrics import MetricsWeigher
from protonova.services.scheduler.weighers.moves import CrossCellWeigher
from protonova.services.scheduler.weighers.pci import PCIWeigher
from protonova.services.scheduler.weighers.server_group import (
    ServerGroupSoftAffinityWeigher,
    ServerGroupSoftAntiAffinityWeigher,
)
from protonova.services.scheduler.weighers.weigher import Weigher

ENTRY_POINTS = "protonova.scheduler.weighers"

AVAILABLE: dict[str, type[Weigher]] = {
    kind.name: kind
    for kind in (
        RAMWeigher,
        CPUWeigher,
        DiskWeigher,
        IoOpsWeigher,
        MetricsWeigher,
        BuildFailureWeigher,
        CrossCellWeigher,
        HypervisorVersionWeigher,
        NumInstancesWeigher,
        ImagePropertiesWeigher,
        PCIWeigher,
        ServerGroupSoftAffinityWeigher,
        ServerGroupSoftAntiAffinityWeigher,
    )
}


def load(conf: Conf) -> list[Weigher]:
    """Those that are chosen. Raises WEIGHER_UNKNOWN, PLUGIN_INVALID, OPTION_INVALID."""
    available = plugins.named(conf.filter_scheduler.weight_classes, AVAILABLE)
    found: list[Weigher] = []
    for name in plugins.named(conf.filter_scheduler.weighers, available):
        kind = plugins.find(name, AVAILABLE, ENTRY_POINTS, Weigher)
        if kind is None or (name in AVAILABLE and name not in available):
            known = "There is no weigher" if kind is None else "weight_classes does not list the weigher"
            raise errors.InvalidArgument(f"{known} {name}.", reason="WEIGHER_UNKNOWN", weigher=name)
        found.append(kind(conf))
    return found
