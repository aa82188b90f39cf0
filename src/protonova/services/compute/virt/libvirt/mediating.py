"""Makes mediated devices of the types that an operator enables when a guest starts, and removes them with it.

A reboot of the host loses them all; so they are looked for at every start. How many guests may have is claimed in
placement; the hardware has the last word.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import libvirt

from protonova.services.compute.virt import errors

from . import mdevs


def kinds(connection: Any, enabled: Collection[str]) -> list[mdevs.Kind]:
    """Of what is enabled, on this host."""
    if not enabled:
        return []
    parents = connection.listAllDevices(libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_MDEV_TYPES)
    existing = connection.listAllDevices(libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_MDEV)
    return mdevs.read([each.XMLDesc() for each in parents], [each.XMLDesc() for each in existing], enabled)


def make(connection: Any, server_id: str, count: int, enabled: Collection[str]) -> None:
    """Those of a guest that are not there yet. Raises HostRefuses."""
    there = _by_id(connection) if count else {}
    for device_id in mdevs.ids(server_id, count):
        if device_id in there:
            continue
        kind = next((kind for kind in kinds(connection, enabled) if kind.available), None)
        if kind is None:
            raise errors.HostRefuses(f"no virtual GPU is left for guest {server_id}", resource="VGPU")
        connection.nodeDeviceCreateXML(mdevs.definition(kind, device_id), 0)


def remove(connection: Any, server_id: str, count: int) -> None:
    """Whatever a guest has; there may be none."""
    there = _by_id(connection) if count else {}
    for device_id in mdevs.ids(server_id, count):
        if device_id in there:
            there[device_id].destroy()


def _by_id(connection: Any) -> dict[str, Any]:
    found = connection.listAllDevices(libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_MDEV)
    return {mdevs.id_of(each.XMLDesc()): each for each in found}
