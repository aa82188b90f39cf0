"""What an operator decides about a libvirt host, with types."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LibvirtSettings:
    """Meaning of the fields: see `virt.options`."""

    state_path: Path
    uri: str = "qemu:///system"
    virt_type: str = "auto"
    run_as: str = ""
    cpu_model: str = ""
    machine_type: str = ""
    disk_cachemode: str = ""
    vnc_listen: str = "127.0.0.1"  # empty = no screen
    force_raw_images: bool = False
    image_max_bytes: int = 0
    network: str = "flat"
    network_gateway: bool = True
    network_metadata: bool = False
    cpu_allocation_ratio: float = 4.0
    memory_allocation_ratio: float = 1.0
    disk_allocation_ratio: float = 1.0
    reserved_vcpus: int = 0
    reserved_memory_mb: int = 512
    reserved_disk_gb: int = 0

    @property
    def instances(self) -> Path:
        return self.state_path / "guests"

    @property
    def images(self) -> Path:
        return self.state_path / "images"

    @property
    def networks(self) -> Path:
        return self.state_path / "networks"


def reachable_by_others(path: Path) -> bool:
    """Whether a process of another user can walk to this directory."""
    return all(directory.stat().st_mode & 0o001 for directory in (path, *path.resolve().parents))


def qemu_user(settings: LibvirtSettings) -> str:
    """Whom QEMU is to run as in libvirt's notation, empty for libvirt's own choice. That choice is an
    unprivileged user; where it cannot reach the disks, QEMU runs as the owner of their directory."""
    if settings.run_as:
        return settings.run_as
    settings.state_path.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0 or reachable_by_others(settings.state_path):
        return ""
    owner = settings.state_path.stat()
    return f"+{owner.st_uid}:+{owner.st_gid}"
