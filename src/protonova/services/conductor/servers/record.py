"""A server's row: the message itself and the columns made of it.

`columns` is the one place that says what of a server can be filtered, sorted or counted in SQL.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from protonova.common.v1.server_pb2 import NetworkInterface, Server
from protonova.services.conductor.clock import to_micros


def columns(server: Server) -> dict[str, Any]:
    """The values of every column of `servers` but `number` and `record`."""
    flavor, properties = server.flavor, server.image.properties
    v4, v6 = _addresses(server.interfaces)
    return {
        "id": server.id,
        "generation": server.generation,
        "project_id": server.project_id,
        "user_id": server.user_id,
        "name": server.name,
        "description": server.description,
        "hostname": server.hostname,
        "reservation_id": server.reservation_id,
        "launch_index": server.launch_index,
        "vm_state": server.vm_state,
        "task_state": server.task_state,
        "power_state": server.power_state,
        "progress": server.progress,
        "locked_by": server.locked_by,
        "host": server.host,
        "node": server.node,
        "availability_zone": server.availability_zone,
        "flavor_id": flavor.id,
        "vcpus": flavor.vcpus,
        "memory_mb": flavor.memory_mb,
        "disk_gb": flavor.root_gb + flavor.ephemeral_gb + (flavor.swap_mb + 1023) // 1024,
        "image_id": server.image.id,
        "kernel_id": properties.get("kernel_id", ""),
        "ramdisk_id": properties.get("ramdisk_id", ""),
        "key_name": server.key_name,
        "root_device_name": server.root_device_name,
        "config_drive": server.config_drive,
        "auto_disk_config": server.auto_disk_config,
        "access_ip_v4": server.access_ip_v4,
        "access_ip_v6": server.access_ip_v6,
        "addresses_v4": v4,
        "addresses_v6": v6,
        "created_at": to_micros(server.created_at),
        "updated_at": to_micros(server.updated_at),
        "launched_at": to_micros(server.launched_at),
        "terminated_at": to_micros(server.terminated_at),
        # Below 0: this record is not the server's, but kept by a cell it is on its way to, or came from.
        "deleted_at": -1 if server.away_by else to_micros(server.deleted_at),
    }


def _addresses(interfaces: Iterable[NetworkInterface]) -> tuple[str, str]:
    v4: list[str] = []
    v6: list[str] = []
    for interface in interfaces:
        for fixed in interface.addresses:
            (v6 if _is_v6(fixed.address) else v4).append(fixed.address)
    return "\n".join(v4), "\n".join(v6)


def _is_v6(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).version == 6
    except ValueError:
        return ":" in address
