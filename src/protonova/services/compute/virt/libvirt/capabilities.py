"""What the host of a libvirt daemon can do: kind of virtualization, models, inventory, traits."""

from __future__ import annotations

import logging
import os
import shutil
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import libvirt

from protonova.common.v1.numa_pb2 import HostTopology
from protonova.services.compute.virt import cells, errors
from protonova.services.compute.virt.driver import HostInventory
from protonova.services.numa import cpus

from . import mdevs, mediating, numa, shares
from .domain import DISK_BUSES, NIC_MODELS, VIDEO_MODELS, HostFacts
from .inspection import QEMU_FORMATS
from .settings import LibvirtSettings, qemu_user

LOG = logging.getLogger(__name__)

# The oldest model current distributions still start on, and one QEMU emulates completely.
EMULATED_CPU = "Nehalem"
_ARCH_TRAITS = {"x86_64": "HW_ARCH_X86_64", "aarch64": "HW_ARCH_AARCH64", "ppc64le": "HW_ARCH_PPC64LE"}


@dataclass(frozen=True)
class Capabilities:
    arch: str
    virt_type: str
    machine: str
    has_uefi: bool
    cpu_info: dict[str, Any] = field(default_factory=dict)
    traits: frozenset[str] = frozenset()
    # (architecture, hypervisor, VM mode)
    guests: tuple[tuple[str, str, str], ...] = ()
    topology: HostTopology | None = None
    share_protocols: tuple[str, ...] = ()


def discover(connection: Any, settings: LibvirtSettings) -> Capabilities:
    """Ask once for each connection: none of it changes while a daemon runs."""
    host = ET.fromstring(connection.getCapabilities())  # noqa: S314 - the daemon is trusted
    arch = host.findtext("host/cpu/arch", os.uname().machine)
    offered = {
        domain.get("type", "")
        for guest in host.findall("guest")
        for element in guest.findall("arch")
        if element.get("name") == arch
        for domain in element.findall("domain")
    }
    virt_type = _virt_type(settings.virt_type, offered, arch)
    # The older of the two x86 machine types boots as fast and has an IDE bus, which every guest can read.
    machine = settings.machine_type or {"x86_64": "pc", "aarch64": "virt"}.get(arch, "")
    domain = ET.fromstring(  # noqa: S314
        connection.getDomainCapabilities(None, arch, machine or None, virt_type, 0)
    )
    firmware = {value.text for value in domain.findall("os/enum[@name='firmware']/value")}
    features = _features(connection, domain, arch, virt_type)
    topology = host.find("host/cpu/topology")
    cpu_info = {
        "arch": arch,
        "model": host.findtext("host/cpu/model", ""),
        "vendor": host.findtext("host/cpu/vendor", ""),
        "topology": {k: int(v) for k, v in topology.items() if v.isdecimal()} if topology is not None else {},
        "features": sorted(features),
    }
    address = host.find("host/cpu/maxphysaddr")
    if address is not None and address.get("bits", "").isdecimal():
        cpu_info["maxphysaddr"] = {"mode": address.get("mode", ""), "bits": int(address.get("bits", "0"))}
    traits = _traits(arch, features, domain, "efi" in firmware)
    found = numa.cells_of(host)
    divided = cells.divided(
        found,
        settings.cpu_sets,
        cpu_ratio=settings.cpu_allocation_ratio,
        memory_ratio=settings.memory_allocation_ratio,
    )
    if cells.has_threads(divided):
        traits |= {cells.HYPERTHREADING}
    guests = _guests(host, arch, virt_type)
    offered_shares = shares.protocols() if _here(settings.uri) and shares.is_virtiofs_offered(domain) else ()
    return Capabilities(
        arch,
        virt_type,
        machine,
        "efi" in firmware,
        cpu_info,
        traits,
        guests,
        divided if found else None,
        offered_shares,
    )


def _guests(host: ET.Element, arch: str, virt_type: str) -> tuple[tuple[str, str, str], ...]:
    """Kinds of guest this driver makes here: of the host's own architecture, emulated ones always, and those that
    need hardware where it was chosen."""
    modes = {element.findtext("os_type", "hvm") for element in host.findall("guest") if _is_of(element, arch)}
    hypervisors = {"qemu", virt_type}
    return tuple(sorted((arch, name, mode) for name in hypervisors for mode in modes or {"hvm"}))


def _is_of(guest: ET.Element, arch: str) -> bool:
    return any(element.get("name") == arch for element in guest.findall("arch"))


def _virt_type(wanted: str, offered: set[str], arch: str) -> str:
    if wanted != "auto":
        if wanted not in offered:
            raise errors.HostRefuses(
                f"libvirt offers no {wanted} on this host, only {', '.join(sorted(offered))}"
            )
        return wanted
    if "kvm" in offered and _has_hardware(arch):
        return "kvm"
    if "qemu" in offered:
        return "qemu"
    raise errors.HostRefuses("libvirt runs no QEMU guests on this host")


def _has_hardware(arch: str) -> bool:
    """A KVM device can be there without virtualization in the CPU; guests do not get far on such."""
    if not os.access("/dev/kvm", os.F_OK):
        return False
    if arch != "x86_64":
        return True
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return bool({"vmx", "svm"} & set(line.split()))
    return False


def _features(connection: Any, domain: ET.Element, arch: str, virt_type: str) -> set[str]:
    """Features a guest's CPU can have here."""
    model = domain.find("cpu/mode[@name='host-model']")
    if model is None or model.get("supported") != "yes":
        return set()
    cpu = ET.Element("cpu", mode="custom", match="exact")
    cpu.extend(list(model))
    try:
        expanded = connection.baselineHypervisorCPU(
            None,
            arch,
            None,
            virt_type,
            [ET.tostring(cpu, encoding="unicode")],
            libvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES,
        )
    except libvirt.libvirtError as error:
        LOG.info("The features of the CPU are not known: %s", error)
        return set()
    found = ET.fromstring(expanded).findall("feature")  # noqa: S314
    return {f.get("name", "") for f in found if f.get("policy", "require") != "disable"}


def _traits(arch: str, features: set[str], domain: ET.Element, uefi: bool) -> frozenset[str]:
    import os_traits

    known = set(os_traits.get_traits())
    buses = {v.text for v in domain.findall("devices/disk/enum[@name='bus']/value")}
    video = {v.text for v in domain.findall("devices/video/enum[@name='modelType']/value")}
    wanted = {"COMPUTE_NODE", "COMPUTE_RESCUE_BFV", "COMPUTE_SOCKET_PCI_NUMA_AFFINITY"}
    wanted.add(_ARCH_TRAITS.get(arch, ""))
    wanted |= {f"COMPUTE_IMAGE_TYPE_{name.upper()}" for name in QEMU_FORMATS}
    wanted |= {f"COMPUTE_STORAGE_BUS_{bus.upper()}" for bus in DISK_BUSES if bus in buses}
    wanted |= {f"COMPUTE_NET_VIF_MODEL_{model.upper()}" for model in NIC_MODELS}
    wanted |= {
        f"COMPUTE_GRAPHICS_MODEL_{model.upper()}" for model in VIDEO_MODELS if model in video | {"none"}
    }
    wanted |= {"COMPUTE_FIRMWARE_BIOS"} | ({"COMPUTE_FIRMWARE_UEFI"} if uefi else set())
    wanted |= {"COMPUTE_STORAGE_VIRTIO_FS"} if shares.is_virtiofs_offered(domain) else set()
    wanted |= {"COMPUTE_MEM_BACKING_FILE"} if shares.is_memory_shared(domain) else set()
    for feature in features:
        name = feature.upper().replace("-", "_").replace(".", "")
        wanted |= {f"HW_CPU_X86_{name}", f"HW_CPU_X86_{feature.upper().replace('-', '_').replace('.', '_')}"}
    return frozenset(wanted & known)


def facts(host: str, capabilities: Capabilities, settings: LibvirtSettings) -> HostFacts:
    """What domain definitions depend on."""
    emulated = capabilities.virt_type == "qemu" and capabilities.arch == "x86_64"
    return HostFacts(
        host=host,
        virt_type=capabilities.virt_type,
        arch=capabilities.arch,
        machine=capabilities.machine,
        cpu_model=settings.cpu_model or (EMULATED_CPU if emulated else ""),
        cache=settings.disk_cachemode or _cache_mode(settings.state_path, capabilities.virt_type),
        vnc_listen=settings.vnc_listen,
        spice_listen=settings.spice_listen,
        run_as=qemu_user(settings),
        has_uefi=capabilities.has_uefi,
        shares=settings.shares,
        shared_cpus=_shared_cpus(capabilities, settings),
    )


def _shared_cpus(capabilities: Capabilities, settings: LibvirtSettings) -> str:
    """What guests without CPUs of their own may run on; empty = all."""
    if not settings.cpu_sets.divides or capabilities.topology is None:
        return ""
    return cpus.spell(cells.shared_cpus(capabilities.topology))


def _cache_mode(directory: Path, virt_type: str) -> str:
    """Past the page cache where the file system can do it and the guest is fast enough to gain from it."""
    if virt_type == "qemu":
        return "writeback"
    probe = directory / f".direct.{os.getpid()}"
    try:
        descriptor = os.open(probe, os.O_CREAT | os.O_WRONLY | getattr(os, "O_DIRECT", 0), 0o600)
    except OSError:
        return "writeback"
    finally:
        probe.unlink(missing_ok=True)
    os.close(descriptor)
    return "none"


def inventory(connection: Any, capabilities: Capabilities, settings: LibvirtSettings) -> HostInventory:
    settings.state_path.mkdir(parents=True, exist_ok=True)
    disk = shutil.disk_usage(settings.state_path)
    info = connection.getInfo()
    vcpus, dedicated = info[2], 0
    if settings.cpu_sets.divides and capabilities.topology is not None:
        vcpus = len(cells.shared_cpus(capabilities.topology))
        dedicated = len(cells.dedicated_cpus(capabilities.topology))
    return HostInventory(
        hostname=connection.getHostname(),
        hypervisor_type=connection.getType(),
        hypervisor_version=connection.getVersion(),
        vcpus=vcpus,
        dedicated_cpus=dedicated,
        vgpus=mdevs.capacity(mediating.kinds(connection, settings.mdev_types)),
        memory_mb=_memory_mb(settings.uri) or info[1],
        disk_gb=disk.total >> 30,
        reserved_vcpus=settings.reserved_vcpus,
        reserved_memory_mb=settings.reserved_memory_mb,
        reserved_disk_gb=settings.reserved_disk_gb,
        cpu_allocation_ratio=settings.cpu_allocation_ratio,
        memory_allocation_ratio=settings.memory_allocation_ratio,
        disk_allocation_ratio=settings.disk_allocation_ratio,
        free_disk_gb=disk.free >> 30,
        architecture=capabilities.arch,
        cpu_info=capabilities.cpu_info,
        traits=capabilities.traits,
        supported_instances=capabilities.guests,
        booted_at=_booted_at(settings.uri),
        share_protocols=capabilities.share_protocols,
    )


def _here(uri: str) -> bool:
    """Whether the daemon is on this machine."""
    return uri in ("qemu:///system", "qemu:///session")


def _booted_at(uri: str) -> datetime | None:
    """libvirt does not tell."""
    for line in Path("/proc/stat").read_text().splitlines() if _here(uri) else ():
        if line.startswith("btime "):
            return datetime.fromtimestamp(int(line.split()[1]), UTC)
    return None


def _memory_mb(uri: str) -> int:
    """The kernel's own figure where it can be had: libvirt counts NUMA nodes only."""
    if not _here(uri):
        return 0
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    return 0
