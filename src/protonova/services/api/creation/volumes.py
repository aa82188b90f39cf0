"""Volumes and snapshots a create request names: are they there, free, and fit to boot from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from protonova.common.v1.server_pb2 import BlockDevice, ImageSnapshot
from protonova.services.api.creation import images
from protonova.services.api.creation.block_devices import SNAPSHOT, VOLUME, booted, invalid
from protonova.services.runtime import errors
from protonova.services.runtime.context import RequestContext
from protonova.services.runtime.openstack.volume import Snapshot, Volume


class VolumeSource(Protocol):
    """What is asked of the volume service."""

    def get(self, volume_id: str) -> Volume: ...
    def snapshot(self, snapshot_id: str) -> Snapshot: ...


def check(
    source: VolumeSource,
    devices: Sequence[BlockDevice],
    most: int,
    caller: RequestContext,
    *,
    allow_multiattach: bool,
) -> ImageSnapshot | None:
    """Looks at every volume and snapshot; returns the image the root volume was made of, if it is one.
    Fills in the sizes. Raises BLOCK_DEVICE_INVALID."""
    remembered = None
    for index, device in enumerate(devices):
        field = f"block_devices[{index}]"
        if device.source == VOLUME:
            volume = _volume(source, device, field, most, caller, allow_multiattach)
            device.size_gb = volume.size_gb
        elif device.source == SNAPSHOT:
            snapshot = _snapshot(source, device, field)
            if device.size_gb and device.size_gb < snapshot.size_gb:
                raise invalid(f"{field}.size_gb", "size", "a volume cannot be smaller than its snapshot.")
            device.size_gb = device.size_gb or snapshot.size_gb
            if not booted(device):
                continue
            volume = source.get(snapshot.volume_id)
        else:
            continue
        if booted(device):
            if not volume.bootable:
                raise invalid(field, "volume_not_bootable", f"Volume {volume.id} is not bootable.")
            remembered = images.of_volume(volume.image_properties)
    return remembered


def _volume(
    source: VolumeSource,
    device: BlockDevice,
    field: str,
    most: int,
    caller: RequestContext,
    allow_multiattach: bool,
) -> Volume:
    field = f"{field}.volume_id"
    try:
        volume = source.get(device.volume_id)
    except (errors.NotFound, errors.InvalidArgument):
        volume = None
    if volume is None or (volume.project_id != caller.project_id and not caller.is_admin):
        raise invalid(field, "volume_unknown", f"failed to get volume {device.volume_id}.")
    if volume.multiattach and not allow_multiattach:
        raise invalid(field, "multiattach", f"volume {volume.id} can be attached to several servers.")
    if most > 1 and not volume.multiattach:
        raise invalid(field, "several_servers", f"volume {volume.id} cannot be given to several servers.")
    usable = {"available", "in-use"} if volume.multiattach else {"available"}
    if volume.status not in usable:
        raise invalid(field, "volume_status", f"volume {volume.id} is not available but {volume.status}.")
    return volume


def _snapshot(source: VolumeSource, device: BlockDevice, field: str) -> Snapshot:
    field = f"{field}.snapshot_id"
    try:
        snapshot = source.snapshot(device.snapshot_id)
    except (errors.NotFound, errors.InvalidArgument):
        raise invalid(field, "snapshot_unknown", f"failed to get snapshot {device.snapshot_id}.") from None
    if snapshot.status != "available":
        raise invalid(
            field, "snapshot_status", f"snapshot {snapshot.id} is not available but {snapshot.status}."
        )
    return snapshot
