"""Weighers: each ranks hosts by one quality. `load` makes those an operator has chosen."""

from __future__ import annotations

from protonova.services.runtime import errors
from protonova.services.runtime.config import Conf
from protonova.services.scheduler.weighers.columns import (
    BuildFailureWeigher,
    CPUWeigher,
    DiskWeigher,
    HypervisorVersionWeigher,
    IoOpsWeigher,
    RAMWeigher,
)
from protonova.services.scheduler.weighers.weigher import Weigher

AVAILABLE: dict[str, type[Weigher]] = {
    kind.name: kind
    for kind in (
        RAMWeigher,
        CPUWeigher,
        DiskWeigher,
        IoOpsWeigher,
        BuildFailureWeigher,
        HypervisorVersionWeigher,
    )
}


def load(conf: Conf) -> list[Weigher]:
    """Those that are chosen and count for anything. Raises WEIGHER_UNKNOWN."""
    names: list[str] = conf.filter_scheduler.weighers
    if names == ["all"]:
        names = list(AVAILABLE)
    found: list[Weigher] = []
    for name in names:
        kind = AVAILABLE.get(name)
        if kind is None:
            raise errors.InvalidArgument(
                f"There is no weigher {name}.", reason="WEIGHER_UNKNOWN", weigher=name
            )
        found.append(kind(conf))
    return [weigher for weigher in found if weigher.multiplier]
