"""Drivers by name. A driver's module is imported only when it is asked for."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import errors, options
from .cells import CpuSets
from .driver import Driver, ImageFetch

if TYPE_CHECKING:
    from oslo_config import cfg

__all__ = ["Driver", "errors", "load", "options"]

LOG = logging.getLogger(__name__)


def load(name: str, conf: cfg.ConfigOpts, *, host: str, fetch: ImageFetch) -> Driver:
    """The driver called `name` for one host: "fake", "libvirt", or "auto" (libvirt where its daemon answers).

    `conf` needs `state_path`; the groups of `virt.options` are registered on it here.
    """
    options.register(conf)
    if name == "auto":
        name = "libvirt" if _libvirt_answers(conf.libvirt.uri) else "fake"
        LOG.info("Virt driver of %s: %s (found by itself)", host, name)
    if name == "fake":
        return _fake(conf, host)
    if name == "libvirt":
        return _libvirt(conf, host, fetch)
    raise errors.DriverError(f"there is no virt driver {name!r}; known are auto, fake, libvirt")


def _common(conf: Any) -> dict[str, Any]:
    return {
        "cpu_allocation_ratio": conf.virt.cpu_allocation_ratio,
        "memory_allocation_ratio": conf.virt.ram_allocation_ratio,
        "disk_allocation_ratio": conf.virt.disk_allocation_ratio,
        "reserved_memory_mb": conf.virt.reserved_host_memory_mb,
        "cpu_sets": CpuSets.read(
            conf.compute.cpu_shared_set, conf.compute.cpu_dedicated_set, conf.compute.reserved_huge_pages
        ),
    }


def _fake(conf: Any, host: str) -> Driver:
    from .fake import FakeDriver, FakeSettings, FaultPlan
    from .fake.devices import read as devices

    store: Path | None = Path(conf.fake.store or Path(conf.state_path) / "fake-guests.sqlite")
    if conf.fake.store == ":memory:":
        store = None
    settings = FakeSettings(
        vcpus=conf.fake.vcpus,
        memory_mb=conf.fake.memory_mb,
        disk_gb=conf.fake.disk_gb,
        numa_cells=conf.fake.numa_cells,
        threads_per_core=conf.fake.threads_per_core,
        huge_pages=_pages(conf.fake.huge_pages),
        sockets=conf.fake.sockets,
        vgpus=conf.fake.vgpus,
        pci_devices=devices(conf.fake.pci_devices),
        enforce_capacity=conf.fake.enforce_capacity,
        shared_storage=conf.fake.shared_storage,
        share_protocols=tuple(conf.fake.share_protocols),
        store=store,
        metrics={name: float(value) for name, value in conf.fake.metrics.items()},
        faults=FaultPlan(file=Path(conf.fake.faults) if conf.fake.faults else None),
        **_common(conf),
    )
    return FakeDriver(host, settings)


def _pages(found: dict[str, str]) -> dict[int, int]:
    try:
        return {int(size): int(count) for size, count in found.items()}
    except ValueError as error:
        raise errors.DriverError(f"[fake]huge_pages tells size (KiB) and number of pages: {error}") from error


def _libvirt(conf: Any, host: str, fetch: ImageFetch) -> Driver:
    try:
        from .libvirt.driver import LibvirtDriver
    except ImportError as error:
        raise errors.DriverError(f"the libvirt driver needs libvirt-python: {error}") from error
    from .libvirt.settings import LibvirtSettings

    section = conf.libvirt
    settings = LibvirtSettings(
        uri=section.uri,
        virt_type=section.virt_type,
        state_path=Path(section.instances_path or Path(conf.state_path) / "instances"),
        run_as=section.run_as,
        cpu_model=section.cpu_model,
        machine_type=section.machine_type,
        disk_cachemode=section.disk_cachemode,
        vnc_listen=section.vnc_listen or conf.vnc.server_listen if section.vnc and conf.vnc.enabled else "",
        vnc_address=conf.vnc.server_proxyclient_address,
        spice_listen=conf.spice.server_listen if conf.spice.enabled else "",
        spice_address=conf.spice.server_proxyclient_address,
        serial_ports=_ports(conf.serial_console.port_range) if conf.serial_console.enabled else range(0),
        serial_address=conf.serial_console.proxyclient_address,
        force_raw_images=section.force_raw_images,
        image_max_bytes=section.image_max_gb << 30,
        network=section.network,
        network_gateway=section.network_gateway,
        network_metadata=section.network_metadata,
        device_detach_attempts=section.device_detach_attempts,
        device_detach_timeout=section.device_detach_timeout,
        volume_swap_timeout=section.volume_swap_timeout,
        share_mount_timeout=section.share_mount_timeout,
        live_migration_uri=section.live_migration_uri,
        live_address=section.live_migration_inbound_addr or _own_address(conf),
        mdev_types=tuple(conf.devices.enabled_mdev_types),
        reserved_vcpus=conf.virt.reserved_host_cpus,
        reserved_disk_gb=-(-conf.virt.reserved_host_disk_mb // 1024),
        **_common(conf),
    )
    return LibvirtDriver(host, settings, fetch)


def _ports(text: str) -> range:
    first, _, beyond = text.partition(":")
    if not (first.isdecimal() and beyond.isdecimal() and int(first) < int(beyond) <= 65536):
        raise errors.DriverError(f"[serial_console]port_range is first:beyond last, not {text!r}")
    return range(int(first), int(beyond))


def _own_address(conf: Any) -> str:
    return str(conf.my_ip) if "my_ip" in conf else "127.0.0.1"


def _libvirt_answers(uri: str) -> bool:
    try:
        from .libvirt.connection import answers
    except ImportError:
        return False
    return answers(uri)
