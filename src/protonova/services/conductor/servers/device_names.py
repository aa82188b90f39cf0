"""How the disks of a server are named: pure, and the same as drivers name them when they are left to choose.

Local disks come first (root, ephemeral, swap), then volumes in the order they are booted from; each takes the name
it wishes for if its bus has that and it is free, else the first free one of its bus.
"""

from __future__ import annotations

import re

from protonova.common.v1.server_pb2 import BlockDevice, BlockDeviceDestination, Server
from protonova.services.runtime import errors

_PREFIXES = {"virtio": "vd", "ide": "hd", "scsi": "sd", "sata": "sd", "usb": "sd"}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_NAME = re.compile(r"(?:/dev/)?(x?[a-z]?d?[a-z]+)[0-9]*")


class _Names:
    def __init__(self) -> None:
        self.used: set[str] = set()

    def take(self, bus: str, wanted: str = "") -> str:
        prefix = _PREFIXES.get(bus, "vd")
        if wanted.startswith(f"/dev/{prefix}") and wanted not in self.used:
            self.used.add(wanted)
            return wanted
        for letter in _LETTERS:
            if (name := f"/dev/{prefix}{letter}") not in self.used:
                self.used.add(name)
                return name
        raise errors.PermissionDenied("A server has no names for more disks.", reason="TOO_MANY_DISKS")


def volumes_of(server: Server) -> list[BlockDevice]:
    """The disks that are volumes, those booted from first."""
    found = [
        device
        for device in server.block_devices
        if device.destination == BlockDeviceDestination.BLOCK_DEVICE_DESTINATION_VOLUME
    ]
    found.sort(key=lambda device: (not is_booted(device), device.boot_index))
    return found


def is_booted(device: BlockDevice) -> bool:
    return device.HasField("boot_index") and device.boot_index >= 0


def is_root(device: BlockDevice) -> bool:
    return device.HasField("boot_index") and device.boot_index == 0


def name_all(server: Server) -> None:
    """Names the volumes that have no name yet."""
    _named(server)


def next_name(server: Server, wanted: str = "") -> str:
    """The name a further volume gets. Raises `errors.InvalidArgument` (DEVICE_NAME_INVALID),
    `errors.FailedPrecondition` (DEVICE_NAME_IN_USE), `errors.PermissionDenied` (TOO_MANY_DISKS)."""
    copy = Server()
    copy.CopyFrom(server)
    names = _named(copy)
    if wanted:
        shape = _NAME.fullmatch(wanted)
        if shape is None:
            raise errors.InvalidArgument(
                f"The device name '{wanted}' is invalid.", reason="DEVICE_NAME_INVALID", device=wanted
            )
        wanted = f"/dev/{shape[1]}"
        if wanted in names.used:
            raise errors.FailedPrecondition(
                f"The device name '{wanted}' is in use.", reason="DEVICE_NAME_IN_USE", device=wanted
            )
    return names.take(_bus(server), wanted)


def count(server: Server) -> int:
    """How many disks it has, drives with its configuration not counted."""
    return len(volumes_of(server)) + len(_local(server))


def _named(server: Server) -> _Names:
    names = _Names()
    bus = _bus(server)
    for _ in _local(server):
        names.take(bus)
    if server.config_drive:
        # On which bus a drive with the configuration stands is the host's to choose: both names are kept free.
        for its in ("ide", "sata"):
            if _PREFIXES.get(bus) == _PREFIXES[its]:
                names.take(its)
    for device in volumes_of(server):
        device.device_name = names.take(device.disk_bus or bus, device.device_name)
    return names


def _local(server: Server) -> list[str]:
    flavor = server.flavor
    there = (
        ("root", bool(server.image.id) and not _boots_from_volume(server)),
        ("ephemeral", flavor.ephemeral_gb > 0),
        ("swap", flavor.swap_mb > 0),
    )
    return [name for name, has in there if has]


def _boots_from_volume(server: Server) -> bool:
    return any(is_root(device) for device in volumes_of(server))


def _bus(server: Server) -> str:
    return server.image.properties.get("hw_disk_bus", "") or "virtio"
