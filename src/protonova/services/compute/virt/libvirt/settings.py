"""What an operator decides about a libvirt host, with types."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from protonova.services.compute.virt.cells import CpuSets


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
    vnc_address: str = "127.0.0.1"  # as the console proxy reaches it
    spice_listen: str = ""  # empty = no screen
    spice_address: str = "127.0.0.1"
    serial_ports: range = range(0)  # of serial consoles over the network; none = none of these
    serial_address: str = "127.0.0.1"
    force_raw_images: bool = False
    image_max_bytes: int = 0
    network: str = "flat"
    network_gateway: bool = True
    network_metadata: bool = False
    live_migration_uri: str = "qemu+tcp://{address}/system"
    live_address: str = "127.0.0.1"
    mdev_types: tuple[str, ...] = ()
    cpu_allocation_ratio: float = 4.0
    memory_allocation_ratio: float = 1.0
    disk_allocation_ratio: float = 1.0
    cpu_sets: CpuSets = field(default_factory=CpuSets)
    reserved_vcpus: int = 0
    reserved_memory_mb: int = 512
    reserved_disk_gb: int = 0
    device_detach_attempts: int = 8
    device_detach_timeout: float = 20.0  # seconds for each attempt
    volume_swap_timeout: float = 3600.0  # seconds
    share_mount_timeout: float = 30.0  # seconds

    def live_uri(self) -> str:
        """Where the daemons of other hosts reach this one's."""
        return self.live_migration_uri.replace("{address}", self.live_address)

    @property
    def instances(self) -> Path:
        return self.state_path / "guests"

    @property
    def images(self) -> Path:
        return self.state_path / "images"

    @property
    def shares(self) -> Path:
        return self.state_path / "shares"

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
