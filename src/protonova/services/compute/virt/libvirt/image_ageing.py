"""Bases nobody needs go after a while.

A base is removed if and only if no guest here has it, or a disk that stands on it, and it was not asked for within
the least age; asking for it (`ImageCache.get`) counts as using it, because the disk that is to stand on it comes a
moment later. What disks stand on is read from the disks themselves, whatever wrote them; a CD is used as it is.
"""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from .images import ImageCache
from .layout import Aside, GuestDirectory

LOG = logging.getLogger(__name__)

# Between asking for a base and the disk that stands on it lie seconds, on a machine that hardly moves minutes.
_LEAST_SECONDS = 600.0
_QCOW2 = b"QFI\xfb"
# Magic, version, offset and length of the name of the backing file.
_HEADER = struct.Struct(">4sIQI")


def forget_unused(cache: ImageCache, instances: Path, seconds: float) -> int:
    """How many bases went."""
    oldest = time.time() - max(seconds, _LEAST_SECONDS)
    needed = {*_backing_files(instances), *_plain_files(instances)}
    gone = sum(cache.forget(base, oldest) for base in cache.bases() if base.path not in needed)
    if gone:
        LOG.info("%d images that no guest needs were removed", gone)
    return gone


def _backing_files(instances: Path) -> Iterator[Path]:
    # What is set aside may be put back.
    for disk in (*instances.glob("*/*"), *instances.glob("aside/*/*")):
        if disk.is_file() and (backing := _backing_file(disk)) is not None:
            yield backing


def _plain_files(instances: Path) -> Iterator[Path]:
    for record in instances.glob("*/guest.json"):
        layout = GuestDirectory(instances, record.parent.name).load()
        for disk in layout.disks if layout else ():
            yield Path(disk.file)
    for aside in Aside.all(instances):
        layout = aside.load()
        for disk in layout.disks if layout else ():
            yield Path(disk.file)


def _backing_file(disk: Path) -> Path | None:
    """What a qcow2 disk stands on; None for anything else."""
    try:
        with disk.open("rb") as file:
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return None
            magic, _version, offset, length = _HEADER.unpack(header)
            if magic != _QCOW2 or not offset:
                return None
            file.seek(offset)
            return Path(file.read(length).decode(errors="surrogateescape"))
    except FileNotFoundError:
        return None
