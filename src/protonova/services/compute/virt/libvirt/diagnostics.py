"""What libvirt measures of a domain that runs."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import libvirt

from protonova.common.v1.diagnostics_pb2 import ServerDiagnostics
from protonova.common.v1.server_pb2 import POWER_STATE_PAUSED, POWER_STATE_RUNNING

_BLOCK = ("read_req", "read", "write_req", "write", "errors")
_NIC = ("rx", "rx_packets", "rx_errors", "rx_drop", "tx", "tx_packets", "tx_errors", "tx_drop")


def measure(found: Any) -> ServerDiagnostics:
    """All it tells. What it cannot tell is left out."""
    definition = ET.fromstring(found.XMLDesc(0))  # noqa: S314 - libvirt's own
    paused = found.state()[0] == libvirt.VIR_DOMAIN_PAUSED
    told = ServerDiagnostics(
        power_state=POWER_STATE_PAUSED if paused else POWER_STATE_RUNNING,
        driver="libvirt",
        hypervisor_os="linux",
    )
    _cpus(found, told)
    _memory(found, told)
    for disk in definition.iterfind("devices/disk/target"):
        _disk(found, str(disk.get("dev")), told)
    for interface in definition.iterfind("devices/interface"):
        target, mac = interface.find("target"), interface.find("mac")
        if target is not None and mac is not None:
            _nic(found, str(target.get("dev")), str(mac.get("address")), told)
    return told


def _cpus(found: Any, told: ServerDiagnostics) -> None:
    with _untold():
        for number, _state, nanoseconds, _cpu in found.vcpus()[0]:
            told.cpus.add(id=number, time=nanoseconds)
            told.native[f"cpu{number}_time"] = nanoseconds
    if not told.cpus:
        count, nanoseconds = found.info()[3:5]
        for number in range(count):
            told.cpus.add(id=number)
        told.native["cpu_time"] = nanoseconds


def _memory(found: Any, told: ServerDiagnostics) -> None:
    _state, maximum_kb, used_kb, *_rest = found.info()
    told.memory_maximum_mb, told.memory_used_mb = maximum_kb // 1024, used_kb // 1024
    told.native["memory"] = maximum_kb
    with _untold():
        told.native.update({f"memory-{name}": value for name, value in found.memoryStats().items()})


def _disk(found: Any, name: str, told: ServerDiagnostics) -> None:
    with _untold():
        stats = dict(zip(_BLOCK, found.blockStats(name), strict=True))
        told.native.update({f"{name}_{key}": value for key, value in stats.items()})
        told.disks.add(
            read_bytes=stats["read"],
            read_requests=stats["read_req"],
            write_bytes=stats["write"],
            write_requests=stats["write_req"],
            # -1 = nobody counts them.
            errors_count=max(stats["errors"], 0),
        )


def _nic(found: Any, name: str, mac: str, told: ServerDiagnostics) -> None:
    nic = told.nics.add(mac_address=mac)
    with _untold():
        stats = dict(zip(_NIC, found.interfaceStats(name), strict=True))
        told.native.update({f"{name}_{key}": value for key, value in stats.items()})
        nic.rx_octets, nic.tx_octets = stats["rx"], stats["tx"]
        for key in ("rx_packets", "rx_errors", "rx_drop", "tx_packets", "tx_errors", "tx_drop"):
            setattr(nic, key, stats[key])


@contextmanager
def _untold() -> Iterator[None]:
    """Not every kind of disk, card or CPU is measured by every hypervisor."""
    try:
        yield
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            raise
