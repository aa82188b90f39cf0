"""Ports and volumes of a server that goes to another host: ports are bound there, volumes are attached anew.

Both can be done to any host from any state in between, so going back is the same call.
"""

from __future__ import annotations

import json

from google.protobuf import json_format

from protonova.common.v1.server_pb2 import BlockDevice, NetworkInterface, Server
from protonova.services.conductor.cell import Cell
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Run


def bind_ports(cell: Cell, server: Server, host: str) -> list[NetworkInterface]:
    """The interfaces as they are on the host. Raises PORT_BINDING_FAILED."""
    interfaces = []
    for known in server.interfaces:
        interface = NetworkInterface()
        interface.CopyFrom(known)
        port = cell.outside.networks.bind_port(
            known.port_id, server_id=server.id, host=host, hostname=server.hostname
        )
        if port.vif_type == "binding_failed":
            raise errors.FailedPrecondition(
                f"Port {port.id} cannot be bound on host {host}.",
                reason="PORT_BINDING_FAILED",
                port_id=port.id,
                host=host,
            )
        interface.vif_type = port.vif_type
        interface.bridge = str(port.vif_details.get("bridge_name") or "")
        interface.vif_details.clear()
        for name, value in port.vif_details.items():
            interface.vif_details[name] = value if isinstance(value, str) else json.dumps(value)
        interfaces.append(interface)
    return interfaces


def connector(cell: Cell, host: str, ip: str = "") -> dict[str, str]:
    """What the volume service is told of a host; `ip`: of one in another cell."""
    known = cell.host(host)
    return {"host": host, "ip": known.report.host_ip if known else ip, "os_type": "linux"}


def attach(cell: Cell, run: Run, server: Server, host: str, ip: str = "") -> dict[str, BlockDevice]:
    """New attachments of all volumes on a host, by device; those the record names are still there. What an earlier
    try has made is made anew, for nobody knows which host it was for."""
    volumes = cell.outside.volumes
    attached = volumes.attachment_ids(server.id)
    recorded = {device.attachment_id for device in server.block_devices}
    devices: dict[str, BlockDevice] = {}
    for known in server.block_devices:
        if not known.volume_id:
            continue
        run.check()
        device = BlockDevice()
        device.CopyFrom(known)
        device.attachment_id = volumes.create_attachment(known.volume_id, server.id)
        connection = volumes.connect_attachment(device.attachment_id, connector(cell, host, ip))
        device.connection.Clear()
        json_format.ParseDict(connection, device.connection)
        devices[device.id] = device
    for _, attachment_id in attached:
        if attachment_id not in recorded:
            volumes.delete_attachment(attachment_id)
    return devices


def detach_others(cell: Cell, server_id: str, devices: dict[str, BlockDevice]) -> None:
    """Ends all attachments of a server but those of the devices, which are told to be in use."""
    wanted = {device.attachment_id for device in devices.values()}
    volumes = cell.outside.volumes
    for attachment_id in sorted(wanted):
        volumes.complete_attachment(attachment_id)
    for _, attachment_id in volumes.attachment_ids(server_id):
        if attachment_id not in wanted:
            volumes.delete_attachment(attachment_id)


def enter(server: Server, interfaces: list[NetworkInterface], devices: dict[str, BlockDevice]) -> None:
    """Writes both into the record of the server."""
    del server.interfaces[:]
    server.interfaces.extend(interfaces)
    for device in server.block_devices:
        if device.id in devices:
            device.CopyFrom(devices[device.id])
