"""How busy the host's processors are, by libvirt's own counters."""

from __future__ import annotations

from typing import Any

import libvirt

_KINDS = ("user", "kernel", "idle", "iowait")


class Processors:
    """Times since the host was started, in nanoseconds, and what part of the time since the last look each took."""

    def __init__(self) -> None:
        self._before: dict[str, int] = {}

    def measure(self, connection: Any) -> dict[str, float]:
        """The first time there are no percentages."""
        try:
            told = connection.getCPUStats(libvirt.VIR_NODE_CPU_STATS_ALL_CPUS)
            megahertz = connection.getInfo()[3]
        except libvirt.libvirtError:
            return {}
        now = {kind: int(told[kind]) for kind in _KINDS if kind in told}
        found: dict[str, float] = {"cpu.frequency": megahertz}
        found.update({f"cpu.{kind}.time": time for kind, time in now.items()})
        spent = {kind: time - self._before[kind] for kind, time in now.items() if kind in self._before}
        whole = sum(spent.values())
        self._before = now
        if whole > 0:
            found.update({f"cpu.{kind}.percent": 100 * time / whole for kind, time in spent.items()})
            found["cpu.percent"] = 100 * (1 - spent.get("idle", 0) / whole)
        return found
