"""Copies of the root disk of a guest, whether it runs or not.

The disk of a guest that is off is read by qemu-img. QEMU itself copies the one of a guest that runs: it mirrors
what is written meanwhile, until the copy is equal, and then lets go of it at one moment. A job that an agent left
behind is ended by the next try, which begins anew.

The root disk of a guest that boots from an ISO image is that image, in a drive: its copy is an ISO image again,
from which a guest boots the same way.
"""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import libvirt

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import Cancelled, SnapshotFile

from . import qemu_img
from .layout import GuestDirectory, LocalDisk

_FORMAT = "qcow2"
_ISO = "iso"
# Between two looks at QEMU's copy (seconds).
_LOOK = 0.1


def take(found: Any, directory: GuestDirectory, snapshot_id: str, cancelled: Cancelled) -> None:
    """`found`: the domain, if there is one."""
    target = directory.snapshot(snapshot_id)
    if target.exists():
        return
    root = _root(directory)
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)
    if root.read_only:
        shutil.copyfile(root.file, part)
    elif found is not None and found.isActive():
        _mirrored(found, root, part, cancelled)
    else:
        qemu_img.convert(Path(root.file), root.format, part, _FORMAT)
    part.chmod(0o600)
    part.replace(target)


def opened(directory: GuestDirectory, snapshot_id: str) -> SnapshotFile:
    path = directory.snapshot(snapshot_id)
    if not path.exists():
        raise errors.SnapshotNotFound(f"there is no copy {snapshot_id} of guest {directory.path.name}")
    disk_format = _ISO if _root(directory).read_only else _FORMAT
    return SnapshotFile(path.open("rb"), disk_format, path.stat().st_size)


def _root(directory: GuestDirectory) -> LocalDisk:
    layout = directory.load()
    root = next((disk for disk in layout.disks if disk.role == "root"), None) if layout else None
    if root is None:
        raise errors.GuestInWrongState(f"guest {directory.path.name} has no root disk on this host")
    return root


def _mirrored(found: Any, root: LocalDisk, part: Path, cancelled: Cancelled) -> None:
    disk = root.file
    if found.blockJobInfo(disk, 0):
        found.blockJobAbort(disk, 0)
    copy = f"<disk type='file'><source file={quoteattr(str(part))}/><driver type='{_FORMAT}'/></disk>"
    found.blockCopy(disk, copy, None, libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB)
    pause = threading.Event()
    try:
        while not _is_equal(found, disk):
            if cancelled():
                raise errors.Cancelled("the copy of a disk was taken back")
            pause.wait(_LOOK)
    finally:
        found.blockJobAbort(disk, 0)


def _is_equal(found: Any, disk: str) -> bool:
    job = found.blockJobInfo(disk, 0)
    if not job:
        raise errors.HostRefuses("QEMU gave up the copy of a disk")
    return bool(job["end"] and job["cur"] == job["end"])
