"""The domain definition of a guest: a pure function of its layout and of what the host is.

The definition carries our metadata element with the name of the agent's host and the mark that its cell gave it. A
domain without it, or with another host or another mark in it, is not ours and is never touched.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protonova.common.v1.numa_pb2 import CpuShape
from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import GuestSpec, NicSpec
from protonova.services.numa import shape

from . import devices as pci
from . import mdevs, numa, shares
from .layout import Layout, LocalDisk
from .volumes import volume_element

METADATA = "urn:protonova:guest:1"

NIC_MODELS = ("virtio", "e1000", "e1000e", "rtl8139", "ne2k_pci", "pcnet", "vmxnet3")
DISK_BUSES = ("virtio", "scsi", "ide", "sata", "usb")
VIDEO_MODELS = ("vga", "cirrus", "virtio", "qxl", "bochs", "none")

_SOCKETS = 16
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class HostFacts:
    """What the definition depends on besides the guest."""

    host: str
    virt_type: str  # "kvm" or "qemu"
    arch: str = "x86_64"
    machine: str = "pc"
    cpu_model: str = ""  # a named model; empty = the host's own
    cache: str = "writeback"
    vnc_listen: str = ""
    spice_listen: str = ""
    serial: str = ""  # address and port of a serial console over the network
    run_as: str = ""
    has_uefi: bool = False
    mark: str = ""  # of the host's cell; empty = nobody has given one
    shares: Path = Path("/")  # below which shares are mounted
    shared_cpus: str = ""  # what guests without CPUs of their own run on; empty = all


def _add(parent: ET.Element, tag: str, text: object = None, **attributes: object) -> ET.Element:
    element = ET.SubElement(parent, tag, {name: str(value) for name, value in attributes.items()})
    if text is not None:
        element.text = str(text)
    return element


class Targets:
    """Device names by bus, in the order they are asked for."""

    _PREFIX = {"virtio": "vd", "ide": "hd", "scsi": "sd", "sata": "sd", "usb": "sd"}

    def __init__(self, used: Iterable[str] = ()) -> None:
        self._used: set[str] = set(used)

    def take(self, bus: str, wanted: str = "") -> str:
        name = wanted.removeprefix("/dev/")
        if name and name not in self._used and name.startswith(self._PREFIX[bus]):
            self._used.add(name)
            return name
        for letter in _LETTERS:
            if (name := self._PREFIX[bus] + letter) not in self._used:
                self._used.add(name)
                return name
        raise errors.HostRefuses("the guest has more disks than can be named")


def build(layout: Layout, host: HostFacts, console: str) -> str:
    """The XML libvirt defines the guest from."""
    spec = layout.spec
    properties: Mapping[str, str] = spec.image.properties if spec.image else {}
    root = ET.Element("domain", type=host.virt_type)
    _add(root, "name", spec.name)
    _add(root, "uuid", spec.server_id)
    _metadata(root, spec, host)
    _add(root, "memory", spec.memory_mb, unit="MiB")
    _vcpus(root, spec, host)
    _tuning(root, spec)
    if spec.shares:
        shares.share_memory(root)
    _firmware(root, spec, properties, host)
    features = _add(root, "features")
    _add(features, "acpi")
    _add(features, "apic")
    if host.virt_type == "kvm":
        _add(features, "vmcoreinfo", state="on")
    _cpu(root, spec, properties, host)
    clock = _add(root, "clock", offset="localtime" if properties.get("os_type") == "windows" else "utc")
    if host.virt_type == "kvm":
        _add(clock, "timer", name="pit", tickpolicy="delay")
        _add(clock, "timer", name="rtc", tickpolicy="catchup")
        _add(clock, "timer", name="hpet", present="no")
    _add(root, "on_poweroff", "destroy")
    _add(root, "on_reboot", "restart")
    _add(root, "on_crash", "destroy")
    devices = _add(root, "devices")
    if "q35" in _machine(properties, host):
        # Nothing can be plugged into its root bus later on: as many sockets are kept free.
        _add(devices, "controller", type="pci", index=0, model="pcie-root")
        for _ in range(_SOCKETS):
            _add(devices, "controller", type="pci", model="pcie-root-port")
    _disks(devices, layout, properties, host)
    for nic in spec.nics:
        _nic(devices, nic, properties)
    for share in spec.shares:
        devices.append(shares.element(share, host.shares / spec.server_id / share.share_id))
    for device in spec.devices:
        devices.append(pci.hostdev(device))
    for device_id in mdevs.ids(spec.server_id, mdevs.wanted(spec.extra_specs)):
        devices.append(mdevs.hostdev(device_id))
    _console(devices, console, host)
    _extras(devices, spec, properties, host)
    if host.run_as:
        label = _add(root, "seclabel", type="static", model="dac", relabel="yes")
        _add(label, "label", host.run_as)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def root_device(definition: str) -> str:
    """The disk a defined guest boots from, as it is named there; empty when there is none."""
    for disk in ET.fromstring(definition).iterfind("devices/disk"):  # noqa: S314 - written by us
        boot, target = disk.find("boot"), disk.find("target")
        if boot is not None and boot.get("order") == "1" and target is not None:
            return f"/dev/{target.get('dev')}"
    return ""


def _metadata(root: ET.Element, spec: GuestSpec, host: HostFacts) -> None:
    ET.register_namespace("protonova", METADATA)
    guest = _add(_add(root, "metadata"), f"{{{METADATA}}}guest")
    for name, value in (
        ("host", host.host),
        ("mark", host.mark),
        ("project", spec.project_id),
        ("user", spec.user_id),
        ("flavor", spec.flavor_name),
        ("image", spec.image.id if spec.image else ""),
        ("name", spec.display_name),
    ):
        _add(guest, f"{{{METADATA}}}{name}", _printable(value))


def _printable(text: str) -> str:
    """XML cannot carry control characters, whatever a user calls a server."""
    return "".join(
        c if c >= " " and c not in "\ufffe\uffff" and not "\ud800" <= c <= "\udfff" else "?" for c in text
    )


def owner_of(metadata: str) -> tuple[str, str]:
    """Host and mark named in our metadata element, which libvirt hands out without its namespace."""
    element = ET.fromstring(metadata)  # noqa: S314 - written by us, kept by libvirt
    return element.findtext("{*}host", ""), element.findtext("{*}mark", "")


def _vcpus(root: ET.Element, spec: GuestSpec, host: HostFacts) -> None:
    element = _add(root, "vcpu", spec.vcpus, placement="static")
    if spec.numa is None and host.shared_cpus:
        element.set("cpuset", host.shared_cpus)


def _tuning(root: ET.Element, spec: GuestSpec) -> None:
    extra_specs = spec.extra_specs
    wanted = {
        name: extra_specs[f"quota:cpu_{name}"]
        for name in ("shares", "period", "quota")
        if f"quota:cpu_{name}" in extra_specs
    }
    tuning = ET.Element("cputune")
    for name, value in wanted.items():
        _add(tuning, name, value)
    if spec.numa is not None:
        numa.tune(tuning, spec.numa)
        root.extend((*numa.memory(spec.numa),))
    if len(tuning):
        root.append(tuning)


def _firmware(root: ET.Element, spec: GuestSpec, properties: Mapping[str, str], host: HostFacts) -> None:
    uefi = properties.get("hw_firmware_type") == "uefi"
    if uefi and not host.has_uefi:
        raise errors.HostRefuses("this host has no UEFI firmware for guests")
    attributes = {"firmware": "efi"} if uefi else {}
    os = _add(root, "os", **attributes)
    _add(os, "type", "hvm", arch=host.arch, machine=_machine(properties, host))
    if uefi:
        firmware = _add(os, "firmware")
        wanted = spec.extra_specs.get("os:secure_boot", properties.get("os_secure_boot", "disabled"))
        _add(firmware, "feature", enabled="yes" if wanted == "required" else "no", name="secure-boot")
    _add(os, "smbios", mode="sysinfo")
    info = _add(root, "sysinfo", type="smbios")
    system = _add(info, "system")
    _add(system, "entry", "Protonova", name="manufacturer")
    _add(system, "entry", "OpenStack Compute", name="product")
    _add(system, "entry", spec.server_id, name="serial")
    _add(system, "entry", spec.server_id, name="uuid")
    _add(system, "entry", "Virtual Machine", name="family")


def _machine(properties: Mapping[str, str], host: HostFacts) -> str:
    return properties.get("hw_machine_type") or host.machine


def _cpu(root: ET.Element, spec: GuestSpec, properties: Mapping[str, str], host: HostFacts) -> None:
    if host.cpu_model:
        cpu = _add(root, "cpu", match="exact", mode="custom")
        _add(cpu, "model", host.cpu_model, fallback="allow")
    elif host.virt_type == "kvm":
        cpu = _add(root, "cpu", mode="host-model")
    else:
        cpu = _add(root, "cpu")
    found = _shape(spec, properties)
    _add(cpu, "topology", sockets=found.sockets, cores=found.cores, threads=found.threads)
    if spec.numa is not None:
        cpu.append(numa.cells(spec.numa))


def _shape(spec: GuestSpec, properties: Mapping[str, str]) -> CpuShape:
    """As it was fitted, or as ordered within its limits; without an order each CPU is a socket."""
    if spec.numa is not None and spec.numa.HasField("shape"):
        return spec.numa.shape

    def read(source: Mapping[str, str], prefix: str) -> CpuShape:
        texts = {part: source.get(f"{prefix}{part}", "") for part in shape.PARTS}
        return CpuShape(**{part: int(text) for part, text in texts.items() if text.isdecimal()})

    wanted = read(properties, "hw_cpu_")
    if not wanted.ByteSize():
        wanted = read(spec.extra_specs, "hw:cpu_")
    largest = read(spec.extra_specs, "hw:cpu_max_")
    largest.MergeFrom(read(properties, "hw_cpu_max_"))
    return shape.choose(spec.vcpus, wanted, largest) or CpuShape(sockets=spec.vcpus, cores=1, threads=1)


def _disks(devices: ET.Element, layout: Layout, properties: Mapping[str, str], host: HostFacts) -> None:
    spec = layout.spec
    bus = properties.get("hw_disk_bus") or "virtio"
    cdrom_bus = properties.get("hw_cdrom_bus") or _cdrom_bus(_machine(properties, host))
    for wanted in (bus, cdrom_bus):
        if wanted not in DISK_BUSES:
            raise errors.HostRefuses(f"there is no disk bus {wanted!r} here")
    targets = Targets()
    used = set()
    order = 1
    # A rescue disk is the only one that is booted from.
    rescued = any(disk.role == "rescue" for disk in layout.disks)

    def local(disk: LocalDisk) -> None:
        nonlocal order
        disk_bus = disk.bus or (cdrom_bus if disk.device == "cdrom" else bus)
        if disk_bus not in DISK_BUSES:
            raise errors.HostRefuses(f"there is no disk bus {disk_bus!r} here")
        used.add(disk_bus)
        element = _local_disk(devices, disk, targets.take(disk_bus), disk_bus, spec, host)
        if disk.role == ("rescue" if rescued else "root"):
            _add(element, "boot", order=order)
            order += 1

    for disk in layout.disks:
        if not disk.last:
            local(disk)
    for volume in sorted(
        spec.disks, key=lambda v: (v.boot_index is None or v.boot_index < 0, v.boot_index or 0)
    ):
        volume_bus = volume.disk_bus or bus
        if volume_bus not in DISK_BUSES:
            raise errors.HostRefuses(f"there is no disk bus {volume_bus!r} here")
        used.add(volume_bus)
        element = volume_element(volume, targets.take(volume_bus, volume.device_name), volume_bus)
        devices.append(element)
        if volume.boot_index is not None and volume.boot_index >= 0 and not rescued:
            _add(element, "boot", order=order)
            order += 1
    for disk in layout.disks:
        if disk.last:
            local(disk)
    if host.virt_type == "qemu" and "usb" not in used:
        _add(devices, "controller", type="usb", model="none")  # an emulated CPU is too slow to poll it
    if "scsi" in used:
        _add(
            devices,
            "controller",
            type="scsi",
            index=0,
            model=properties.get("hw_scsi_model") or "virtio-scsi",
        )


def _cdrom_bus(machine: str) -> str:
    return "sata" if "q35" in machine else "ide"


def _local_disk(
    devices: ET.Element, disk: LocalDisk, target: str, bus: str, spec: GuestSpec, host: HostFacts
) -> ET.Element:
    element = _add(devices, "disk", type="file", device=disk.device)
    driver: dict[str, Any] = {"name": "qemu", "type": disk.format, "cache": host.cache}
    if not disk.read_only:
        driver["discard"] = "unmap"
    _add(element, "driver", **driver)
    _add(element, "source", file=disk.file)
    _add(element, "target", dev=target, bus=bus)
    if disk.read_only:
        _add(element, "readonly")
    else:
        limits = {k: v for k, v in spec.extra_specs.items() if k.startswith("quota:disk_")}
        if limits:
            tuning = _add(element, "iotune")
            for name, value in sorted(limits.items()):
                _add(tuning, name.removeprefix("quota:disk_"), value)
    if bus == "virtio":
        _add(element, "serial", disk.role)
    return element


def _nic(devices: ET.Element, nic: NicSpec, properties: Mapping[str, str]) -> None:
    model = nic.model or properties.get("hw_vif_model") or "virtio"
    if model not in NIC_MODELS:
        raise errors.HostRefuses(f"there is no network card {model!r} here")
    element = _add(devices, "interface", type="bridge")
    _add(element, "mac", address=nic.mac)
    _add(element, "source", bridge=nic.bridge)
    _add(element, "target", dev=tap_name(nic.port_id))
    _add(element, "model", type=model)
    _add(element, "mtu", size=nic.mtu)


def nic_element(nic: NicSpec, properties: Mapping[str, str]) -> ET.Element:
    """A card by itself, to be plugged into a guest that is there."""
    devices = ET.Element("devices")
    _nic(devices, nic, properties)
    return devices[0]


def tap_name(port_id: str) -> str:
    return f"tap{port_id[:11]}"


def _console(devices: ET.Element, console: str, host: HostFacts) -> None:
    serial = _add(devices, "serial", type="tcp" if host.serial else "pty")
    if host.serial:
        address, _, port = host.serial.rpartition(":")
        _add(serial, "source", mode="bind", host=address, service=port)
        _add(serial, "protocol", type="raw")
    _add(serial, "log", file=console, append="off")  # starts anew whenever the guest is started by us
    _add(serial, "target", port=0)
    if not host.serial:
        _add(_add(devices, "console", type="pty"), "target", type="serial", port=0)


def _extras(devices: ET.Element, spec: GuestSpec, properties: Mapping[str, str], host: HostFacts) -> None:
    channel = _add(devices, "channel", type="unix")
    _add(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
    if spec.extra_specs.get("hw_rng:allowed", "true").lower() != "false":
        rng = _add(devices, "rng", model="virtio")
        _add(rng, "backend", "/dev/urandom", model="random")
    balloon = _add(devices, "memballoon", model="virtio")
    _add(balloon, "stats", period=10)
    action = spec.extra_specs.get("hw:watchdog_action") or properties.get("hw_watchdog_action")
    if action and action != "disabled":
        _add(devices, "watchdog", model="i6300esb", action=action)
    seen = host.vnc_listen or host.spice_listen
    video = properties.get("hw_video_model") or ("vga" if seen else "none")
    if video not in VIDEO_MODELS:
        raise errors.HostRefuses(f"there is no video card {video!r} here")
    if host.vnc_listen:
        _add(devices, "graphics", type="vnc", port=-1, autoport="yes", listen=host.vnc_listen)
    if host.spice_listen:
        _add(devices, "graphics", type="spice", port=-1, autoport="yes", listen=host.spice_listen)
    if seen and host.virt_type == "kvm":
        _add(devices, "input", type="tablet", bus="usb")
    _add(_add(devices, "video"), "model", type=video)
