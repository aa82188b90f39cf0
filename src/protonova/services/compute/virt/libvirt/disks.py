"""The local disks of a guest: made once, never made over.

A disk file gets its name when it is complete, so a file that is there is a disk the guest may have written
to already, and stays.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import GuestSpec

from . import config_drive, qemu_img
from .images import Base
from .layout import GuestDirectory, LocalDisk

LOG = logging.getLogger(__name__)

_GIB = 1 << 30
_MIB = 1 << 20


def fits(spec: GuestSpec, virtual_size: int = 0) -> None:
    """Whether the image goes into the guest that was ordered."""
    image = spec.image
    if image is None:
        return
    if image.min_ram > spec.memory_mb:
        raise errors.ImageUnacceptable(
            f"the image needs {image.min_ram} MiB of memory, the guest has {spec.memory_mb}"
        )
    if spec.root_gb and image.min_disk > spec.root_gb:
        raise errors.ImageUnacceptable(
            f"the image needs a disk of {image.min_disk} GiB, the guest has {spec.root_gb}"
        )
    if spec.root_gb and image.disk_format != "iso" and virtual_size > spec.root_gb * _GIB:
        raise errors.ImageUnacceptable(
            f"the disk of the image has {virtual_size} bytes, the guest's root disk {spec.root_gb} GiB"
        )


def room(directory: Path, spec: GuestSpec) -> None:
    """Whether the host has the space a guest may fill at least for its first steps."""
    free = shutil.disk_usage(directory).free
    if free < _GIB // 4:
        raise errors.HostRefuses(f"{free >> 20} MiB are left on the disk of this host", resource="disk_gb")
    if spec.swap_mb * _MIB > free:
        raise errors.HostRefuses("the disk of this host has no room for the guest's swap", resource="disk_gb")


def make(spec: GuestSpec, directory: GuestDirectory, base: Base | None) -> tuple[LocalDisk, ...]:
    """All local disks of the guest, in the order it sees them."""
    disks = []
    if base is not None and spec.image is not None:
        if spec.image.disk_format == "iso":
            disks.append(LocalDisk("root", str(base.path), "raw", "cdrom"))
        else:
            size = max(spec.root_gb * _GIB, base.virtual_size)
            once(directory.root_disk, lambda part: qemu_img.overlay(base.path, base.format, part, size))
            disks.append(LocalDisk("root", str(directory.root_disk), "qcow2"))
    if spec.ephemeral_gb:
        once(directory.ephemeral, lambda part: _file_system(part, spec.ephemeral_gb * _GIB))
        disks.append(LocalDisk("ephemeral", str(directory.ephemeral), "raw"))
    if spec.swap_mb:
        once(directory.swap, lambda part: _swap(part, spec.swap_mb * _MIB))
        disks.append(LocalDisk("swap", str(directory.swap), "raw"))
    if spec.config_drive:
        if spec.documents or not directory.config_drive.exists():
            config_drive.write(directory.config_drive, config_drive.documents(spec))
        disks.append(LocalDisk("config", str(directory.config_drive), "raw", "cdrom"))
    return tuple(disks)


def once(path: Path, maker: Callable[[Path], None]) -> None:
    """Makes a file under another name; it gets its own when it is complete."""
    if path.exists():
        return
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    maker(part)
    part.chmod(0o600)
    part.replace(path)


def _sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def _file_system(path: Path, size: int) -> None:
    _sparse(path, size)
    _format("mkfs.ext4", "-q", "-F", "-L", "ephemeral0", "-E", "lazy_itable_init=1,lazy_journal_init=1", path)


def _swap(path: Path, size: int) -> None:
    _sparse(path, size)
    _format("mkswap", "-L", "swap0", path)


def _format(program: str, *arguments: str | Path) -> None:
    """Guests can format a disk themselves: a host without the program only warns."""
    found = shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if found is None:
        LOG.warning("%s is not installed: the guest gets an unformatted disk", program)
        return
    try:
        subprocess.run([found, *arguments], check=True, capture_output=True, text=True, timeout=600)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise errors.HostRefuses(f"{program}: {getattr(error, 'stderr', '') or error}") from error
