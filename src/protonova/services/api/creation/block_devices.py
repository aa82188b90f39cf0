"""The disks a create request asks for: defaults filled in, the rules of their mapping checked.

Pure: what volumes and snapshots really are is asked in `volumes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from protonova.common.v1 import server_pb2
from protonova.common.v1.flavor_pb2 import Flavor
from protonova.common.v1.server_pb2 import BlockDevice
from protonova.services.runtime import errors

IMAGE = server_pb2.BLOCK_DEVICE_SOURCE_IMAGE
VOLUME = server_pb2.BLOCK_DEVICE_SOURCE_VOLUME
SNAPSHOT = server_pb2.BLOCK_DEVICE_SOURCE_SNAPSHOT
BLANK = server_pb2.BLOCK_DEVICE_SOURCE_BLANK
LOCAL = server_pb2.BLOCK_DEVICE_DESTINATION_LOCAL
TO_VOLUME = server_pb2.BLOCK_DEVICE_DESTINATION_VOLUME

_DEFAULT_DESTINATION = {IMAGE: LOCAL, BLANK: LOCAL, VOLUME: TO_VOLUME, SNAPSHOT: TO_VOLUME}
_DEVICE_TYPES = frozenset({"", "disk", "cdrom", "floppy", "fs", "lun"})
_DISK_BUSES = frozenset({"", "fdc", "ide", "lxc", "sata", "scsi", "uml", "usb", "virtio", "xen"})
_SWAP = "swap"


def complete(
    wanted: Sequence[BlockDevice], image_id: str, flavor: Flavor, max_local: int
) -> list[BlockDevice]:
    """The disks in full, the one booted from first. Raises BLOCK_DEVICE_INVALID."""
    devices = [_with_defaults(device) for device in wanted]
    for index, device in enumerate(devices):
        _check(device, f"block_devices[{index}]", image_id)
    if image_id and not any(booted(device) for device in devices):
        root = BlockDevice(source=IMAGE, destination=LOCAL, image_id=image_id, delete_on_termination=True)
        root.boot_index = 0
        devices.insert(0, root)
    _check_boot_order(devices)
    _check_local(devices, flavor, max_local)
    devices.sort(key=lambda device: not booted(device))
    return devices


def booted(device: BlockDevice) -> bool:
    """Whether it is the disk the server boots from."""
    return device.HasField("boot_index") and device.boot_index == 0


def boots_from_volume(devices: Iterable[BlockDevice]) -> bool:
    return any(booted(device) and device.destination == TO_VOLUME for device in devices)


def makes_volumes(devices: Iterable[BlockDevice]) -> bool:
    """Whether any of them is a volume that is not there yet."""
    return any(device.destination == TO_VOLUME and not device.volume_id for device in devices)


def invalid(field: str, cause: str, text: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(
        f"Block Device Mapping is Invalid: {text}", reason="BLOCK_DEVICE_INVALID", field=field, cause=cause
    )


def _with_defaults(wanted: BlockDevice) -> BlockDevice:
    device = BlockDevice()
    device.CopyFrom(wanted)
    if not device.destination:
        device.destination = _DEFAULT_DESTINATION.get(device.source, LOCAL)
    if device.HasField("boot_index") and device.boot_index < 0:
        device.ClearField("boot_index")
    return device


def _check(device: BlockDevice, field: str, image_id: str) -> None:
    """The rules one disk has by itself."""
    to_volume = device.destination == TO_VOLUME
    if device.source not in _DEFAULT_DESTINATION:
        raise invalid(f"{field}.source", "source", "the source of a disk must be named.")
    if device.size_gb < 0:
        raise invalid(f"{field}.size_gb", "size", "a size must not be negative.")
    if device.device_type not in _DEVICE_TYPES:
        raise invalid(f"{field}.device_type", "device_type", f"'{device.device_type}' is not a device type.")
    if device.disk_bus not in _DISK_BUSES:
        raise invalid(f"{field}.disk_bus", "disk_bus", f"'{device.disk_bus}' is not a disk bus.")
    if device.volume_type and (not to_volume or device.source == VOLUME):
        raise invalid(
            f"{field}.volume_type", "volume_type", "a volume type is only for volumes that are made."
        )
    named = {IMAGE: device.image_id, VOLUME: device.volume_id, SNAPSHOT: device.snapshot_id}
    if device.source in named and not named[device.source]:
        raise invalid(f"{field}.source", "source", "the source of a disk has no id.")
    if device.source == BLANK and any(named.values()):
        raise invalid(f"{field}.source", "blank_source", "a blank disk has no source.")
    if device.source in (VOLUME, SNAPSHOT) and not to_volume:
        raise invalid(f"{field}.destination", "destination", "volumes and snapshots can only become volumes.")
    if device.source in (IMAGE, BLANK) and to_volume and device.size_gb == 0:
        raise invalid(f"{field}.size_gb", "size", "a volume made of an image or of nothing needs a size.")
    if device.source == IMAGE and not to_volume and not (booted(device) and device.image_id == image_id):
        raise invalid(
            f"{field}.destination", "image_local", "only the image booted from can become a local disk."
        )


def _check_boot_order(devices: Sequence[BlockDevice]) -> None:
    order = sorted(device.boot_index for device in devices if device.HasField("boot_index"))
    if not order:
        raise invalid("image_id", "no_boot_source", "neither an image nor a disk to boot from is named.")
    if order != list(range(len(order))):
        raise invalid(
            "block_devices",
            "boot_sequence",
            "Boot sequence for the instance and image/block device mapping combination is not valid.",
        )


def _check_local(devices: Sequence[BlockDevice], flavor: Flavor, max_local: int) -> None:
    """The rules local disks have together: how many, and within what the flavor has."""
    local = [device for device in devices if device.destination == LOCAL]
    if 0 <= max_local < len(local):
        raise invalid(
            "block_devices",
            "too_many_local",
            f"You specified more local devices than the limit allows ({len(local)} of {max_local}).",
        )
    blank = [device for device in local if device.source == BLANK]
    swap = [device for device in blank if device.guest_format == _SWAP]
    if len(swap) > 1:
        raise invalid("block_devices", "swap", "more than one swap drive requested.")
    # The size of a swap disk is in MiB, as the Compute API has it.
    if swap and swap[0].size_gb > flavor.swap_mb:
        raise invalid("block_devices", "swap", "swap drive requested is larger than instance type allows.")
    if sum(device.size_gb for device in blank if device.guest_format != _SWAP) > flavor.ephemeral_gb:
        raise invalid(
            "block_devices",
            "ephemeral",
            "ephemeral disks requested are larger than the instance type allows.",
        )
