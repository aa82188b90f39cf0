"""The image a server is built from: may it be used, does the flavor suffice, and the copy of it a server keeps."""

from __future__ import annotations

import threading
import time
from typing import Any, Protocol

from protonova.common.v1.flavor_pb2 import Flavor
from protonova.common.v1.server_pb2 import ImageSnapshot
from protonova.services.api.creation import image_devices
from protonova.services.runtime import errors
from protonova.services.runtime.context import RequestContext
from protonova.services.runtime.openstack.image import Image

_GIB = 1 << 30
_KEPT = 10_000


class ImageSource(Protocol):
    """What is asked of the image service."""

    def get(self, image_id: str) -> Image: ...
    def visible_to(self, image: Image, project_id: str) -> bool: ...


class ImageLookup:
    """Images projects may use, remembered for a few seconds: bursts of creates name the same ones."""

    def __init__(self, source: ImageSource, seconds: float) -> None:
        self._source = source
        self._seconds = seconds
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], tuple[float, Image]] = {}

    def usable(self, image_id: str, caller: RequestContext, field: str) -> Image:
        """An active image the caller's project may use. Raises IMAGE_UNUSABLE."""
        key = (image_id, "" if caller.is_admin else caller.project_id)
        now = time.monotonic()
        with self._lock:
            kept = self._kept.get(key)
        if kept and now - kept[0] < self._seconds:
            return kept[1]
        try:
            image = self._source.get(image_id)
        except (errors.NotFound, errors.InvalidArgument, errors.PermissionDenied):
            raise _unusable(image_id, field, "unknown", "could not be found") from None
        if not caller.is_admin and not self._source.visible_to(image, caller.project_id):
            raise _unusable(image_id, field, "unknown", "could not be found")
        if image.status != "active":
            raise _unusable(image_id, field, "inactive", f"is not active but {image.status}")
        with self._lock:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[key] = (now, image)
        return image


def check_memory(image: ImageSnapshot, flavor: Flavor) -> None:
    if image.min_memory_mb > flavor.memory_mb:
        raise _too_small(image, flavor, "memory_mb", image.min_memory_mb, flavor.memory_mb)


def check_local_root(image: ImageSnapshot, flavor: Flavor) -> None:
    """A root disk on the host. A flavor without a root size takes any image."""
    if flavor.root_gb == 0:
        return
    if image.min_disk_gb > flavor.root_gb:
        raise _too_small(image, flavor, "root_gb", image.min_disk_gb, flavor.root_gb)
    if image.size_bytes > flavor.root_gb * _GIB:
        raise _too_small(image, flavor, "root_gb", -(-image.size_bytes // _GIB), flavor.root_gb)


def check_volume_root(image: ImageSnapshot, flavor: Flavor, size_gb: int) -> None:
    if size_gb and image.min_disk_gb > size_gb:
        raise _too_small(image, flavor, "volume_gb", image.min_disk_gb, size_gb)


def check_properties(image: ImageSnapshot, *, auto_disk_config: bool, field: str) -> None:
    if image.properties.get("cinder_encryption_key_id"):
        raise _unusable(
            image.id, field, "encrypted", "was made of an encrypted volume and cannot be booted itself"
        )
    if auto_disk_config and image.properties.get("auto_disk_config", "").strip().lower() == "disabled":
        raise _unusable(image.id, field, "property", "does not allow automatic disk configuration")


def snapshot(image: Image) -> ImageSnapshot:
    """The copy of an image that its servers keep."""
    return ImageSnapshot(
        id=image.id,
        name=image.name,
        disk_format=image.disk_format,
        container_format=image.container_format,
        size_bytes=image.size,
        checksum=image.checksum,
        hash_algorithm=image.hash_algorithm,
        hash_value=image.hash_value,
        min_disk_gb=image.min_disk_gb,
        min_memory_mb=image.min_memory_mb,
        properties={
            name: value for name, value in image.properties.items() if name not in image_devices.PROPERTIES
        },
    )


def of_volume(properties: Any) -> ImageSnapshot:
    """What a bootable volume remembers of the image it was made of."""
    known = {name: str(value) for name, value in properties.items()}
    return ImageSnapshot(
        name=known.pop("image_name", ""),
        disk_format=known.pop("disk_format", ""),
        container_format=known.pop("container_format", ""),
        size_bytes=_integer(known.pop("size", "0")),
        checksum=known.pop("checksum", ""),
        min_disk_gb=_integer(known.pop("min_disk", "0")),
        min_memory_mb=_integer(known.pop("min_ram", "0")),
        properties={
            name: value for name, value in known.items() if name not in ("image_id", "signature_verified")
        },
    )


def _integer(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _unusable(image_id: str, field: str, cause: str, rule: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(
        f"Image {image_id} {rule}.", reason="IMAGE_UNUSABLE", image_id=image_id, field=field, cause=cause
    )


def _too_small(
    image: ImageSnapshot, flavor: Flavor, resource: str, needed: int, available: int
) -> errors.InvalidArgument:
    label = {"memory_mb": "memory (MiB)", "root_gb": "disk (GiB)", "volume_gb": "volume (GiB)"}[resource]
    return errors.InvalidArgument(
        f"Flavor's {label} is too small for the image: it needs {needed}, but only {available} is there.",
        reason="FLAVOR_TOO_SMALL",
        flavor_id=flavor.id,
        image_id=image.id,
        resource=resource,
        needed=needed,
        available=available,
    )
