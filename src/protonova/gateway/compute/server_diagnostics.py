"""What the hypervisor measures of a server.

History: 2.48 one form for all drivers; before, whatever the driver calls it.
"""

from __future__ import annotations

from typing import Any

from protonova.api.v1 import server_pb2 as api
from protonova.common.v1 import server_pb2 as pb
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import (
    INTEGER_OR_NULL,
    OBJECT,
    STRING_OR_NULL,
    TRUE_FALSE,
    Arr,
    Either,
    Field,
    Getter,
    Type,
    View,
    one_of,
)
from protonova.gateway.versions import Window

diagnostics = Resource("servers.diagnostics")

FIXED = Window.parse("2.48-")
_STATES = {
    pb.POWER_STATE_UNSPECIFIED: "pending",
    pb.POWER_STATE_RUNNING: "running",
    pb.POWER_STATE_PAUSED: "paused",
    pb.POWER_STATE_SHUTDOWN: "shutdown",
    pb.POWER_STATE_CRASHED: "crashed",
    pb.POWER_STATE_SUSPENDED: "suspended",
}


def _told(field: str) -> Getter:
    """A number, or null for one that nobody tells."""
    return lambda message, _: getattr(message, field) if message.HasField(field) else None


def _numbers(*names: str) -> tuple[Field, ...]:
    return tuple(Field(name, INTEGER_OR_NULL, _told(name), required=True) for name in names)


def _all(view: View, field: str) -> Getter:
    return lambda message, request: request.show_all(view, getattr(message, field))


def _count(field: str) -> Getter:
    return lambda message, _: len(getattr(message, field))


def _shown(name: str, type_: Type, read: Getter) -> Field:
    return Field(name, type_, read, required=True)


CPU = View(*_numbers("id", "time", "utilisation"))
DISK = View(*_numbers("read_bytes", "read_requests", "write_bytes", "write_requests", "errors_count"))
NIC = View(
    Field("mac_address", STRING_OR_NULL, _told("mac_address"), required=True),
    *_numbers("rx_octets", "rx_packets", "rx_errors", "rx_drop", "rx_rate"),
    *_numbers("tx_octets", "tx_packets", "tx_errors", "tx_drop", "tx_rate"),
)
MEMORY = View(
    Field("maximum", INTEGER_OR_NULL, _told("memory_maximum_mb"), required=True),
    Field("used", INTEGER_OR_NULL, _told("memory_used_mb"), required=True),
)
DIAGNOSTICS = View(
    _shown("state", one_of(*_STATES.values()), lambda d, _: _STATES[d.power_state]),
    _shown("driver", one_of("ironic", "libvirt", "vmwareapi", "xenapi"), lambda d, _: d.driver),
    _shown("hypervisor", STRING_OR_NULL, lambda d, _: d.hypervisor or None),
    _shown("hypervisor_os", STRING_OR_NULL, lambda d, _: d.hypervisor_os or None),
    _shown("uptime", INTEGER_OR_NULL, _told("uptime")),
    _shown("config_drive", TRUE_FALSE, lambda d, _: d.config_drive),
    _shown("num_cpus", INTEGER_OR_NULL, _count("cpus")),
    _shown("num_disks", INTEGER_OR_NULL, _count("disks")),
    _shown("num_nics", INTEGER_OR_NULL, _count("nics")),
    _shown("memory_details", MEMORY, lambda d, request: request.show(MEMORY, d)),
    _shown("cpu_details", Arr(CPU), _all(CPU, "cpus")),
    _shown("disk_details", Arr(DISK), _all(DISK, "disks")),
    _shown("nic_details", Arr(NIC), _all(NIC, "nics")),
)


@diagnostics.get(
    "/servers/{server_id}/diagnostics",
    "index",
    policy="os_compute_api:os-server-diagnostics",
    answer=Either(DIAGNOSTICS, OBJECT),
)
def index(request: Request) -> dict[str, Any]:
    """Show a server's diagnostics."""
    asked = api.GetServerDiagnosticsRequest(id=request.args["server_id"])
    found = request.services.servers.GetServerDiagnostics(asked).diagnostics
    return request.show(DIAGNOSTICS, found) if request.version in FIXED else dict(found.native)
