"""What libvirt's counters say of how busy a host is."""

from __future__ import annotations

import pytest

libvirt = pytest.importorskip("libvirt")

from protonova.services.compute.virt.libvirt.metrics import Processors  # noqa: E402


class Daemon:
    """As much of a connection as is asked."""

    def __init__(self, *looks):
        self.looks = list(looks)

    def getCPUStats(self, number):
        assert number == libvirt.VIR_NODE_CPU_STATS_ALL_CPUS
        if not self.looks:
            raise libvirt.libvirtError("gone")
        return dict(zip(("user", "kernel", "idle", "iowait"), self.looks.pop(0), strict=True))

    def getInfo(self):
        return ["x86_64", 1024, 4, 2400]


def test_percentages_are_of_the_time_since_the_last_look():
    processors, daemon = Processors(), Daemon((100, 50, 800, 50), (160, 60, 820, 60))
    first = processors.measure(daemon)
    assert first == {
        "cpu.frequency": 2400,
        "cpu.user.time": 100,
        "cpu.kernel.time": 50,
        "cpu.idle.time": 800,
        "cpu.iowait.time": 50,
    }
    second = processors.measure(daemon)
    assert second["cpu.user.percent"] == 60.0
    assert second["cpu.idle.percent"] == 20.0
    assert second["cpu.percent"] == 80.0
    assert second["cpu.user.time"] == 160
    assert processors.measure(daemon) == {}
