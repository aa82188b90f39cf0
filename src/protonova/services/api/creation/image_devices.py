"""The disks an image brings along: an image made of a server on volumes names snapshots of them (`bdm_v2`).

A request's own disks come over the image's: one of the same device name takes its place, and a name that the
request suppresses is left out.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from protonova.common.v1.server_pb2 import BlockDevice
from protonova.services.api.creation.block_devices import (
    BLANK,
    IMAGE,
    LOCAL,
    SNAPSHOT,
    TO_VOLUME,
    VOLUME,
    booted,
)
from protonova.services.runtime import errors
from protonova.services.runtime.openstack.image import Image

# Properties that say which disks there are; what servers keep of their image is without them.
PROPERTIES = ("block_device_mapping", "bdm_v2", "root_device_name", "mappings")

_SOURCES = {"image": IMAGE, "volume": VOLUME, "snapshot": SNAPSHOT, "blank": BLANK}
_DESTINATIONS = {"local": LOCAL, "volume": TO_VOLUME}
_IDS = {"image": "image_id", "volume": "volume_id", "snapshot": "snapshot_id"}


def of_image(image: Image) -> list[BlockDevice]:
    """Raises IMAGE_UNUSABLE (cause block_devices)."""
    text = image.properties.get("block_device_mapping", "")
    if not text:
        return []
    try:
        return [_device(entry) for entry in json.loads(text) if not entry.get("no_device")]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise errors.InvalidArgument(
            f"Image {image.id} names disks (block_device_mapping) that cannot be understood.",
            reason="IMAGE_UNUSABLE",
            field="image_id",
            image_id=image.id,
            cause="block_devices",
        ) from error


def merged(
    brought: Sequence[BlockDevice], wanted: Sequence[BlockDevice], suppressed: Collection[str]
) -> list[BlockDevice]:
    """All disks. Where the image brings the one to boot from, to boot from the image means the same."""
    taken = {device.device_name for device in wanted if device.device_name} | set(suppressed)
    kept = [device for device in brought if not device.device_name or device.device_name not in taken]
    if any(booted(device) for device in kept):
        wanted = [device for device in wanted if not (booted(device) and device.source == IMAGE)]
    return [*kept, *wanted]


def _device(entry: dict[str, Any]) -> BlockDevice:
    source = entry["source_type"]
    device = BlockDevice(
        source=_SOURCES[source],
        destination=_DESTINATIONS[entry.get("destination_type") or "volume"],
        size_gb=int(entry.get("volume_size") or 0),
        volume_type=entry.get("volume_type") or "",
        device_name=entry.get("device_name") or "",
        device_type=entry.get("device_type") or "",
        disk_bus=entry.get("disk_bus") or "",
        guest_format=entry.get("guest_format") or "",
        delete_on_termination=bool(entry.get("delete_on_termination")),
        tag=entry.get("tag") or "",
    )
    if source in _IDS:
        setattr(device, _IDS[source], entry.get(_IDS[source]) or entry["uuid"])
    if entry.get("boot_index") is not None:
        device.boot_index = int(entry["boot_index"])
    return device
