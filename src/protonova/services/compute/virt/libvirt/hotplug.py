"""Disks and network cards that come and go while a guest is there.

A running guest is changed at once and for its next start; one that is off for its next start only. What it is
started from is its layout, so that is written last: whatever a crash leaves undone, a repeat of the call finds in
the definition and completes. A guest gives a device back when it likes; libvirt tells when it has.
"""

from __future__ import annotations

import abc
import dataclasses
import xml.etree.ElementTree as ET
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import libvirt

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import Driver, NicSpec, ShareMount, VolumeDisk
from protonova.services.compute.virt.turns import Revoked, Turns

from . import domain
from .capabilities import Capabilities
from .connection import Connection
from .layout import GuestDirectory, Layout
from .network import FlatNetworks
from .settings import LibvirtSettings
from .shares import Mounts
from .volumes import volume_element
from .watch import Watch

_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
_CONFIG = libvirt.VIR_DOMAIN_AFFECT_CONFIG
# What libvirt says when a device, or the running guest, is gone already.
_GONE = (libvirt.VIR_ERR_DEVICE_MISSING, libvirt.VIR_ERR_OPERATION_INVALID)
# What it says to one who asks a guest again that is about to give the device back.
_UNDER_WAY = (libvirt.VIR_ERR_OPERATION_FAILED, libvirt.VIR_ERR_INTERNAL_ERROR)
_COPY = libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT | libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB

Find = Callable[[ET.Element], ET.Element | None]


@dataclass(frozen=True)
class Plugged:
    """A guest with what is written down of it, as a call finds it."""

    found: Any
    directory: GuestDirectory
    layout: Layout

    @property
    def active(self) -> bool:
        return bool(self.found.isActive())

    def defined(self, *, live: bool) -> ET.Element:
        """Its devices, as it runs or as it will be started."""
        text = self.found.XMLDesc(0 if live else libvirt.VIR_DOMAIN_XML_INACTIVE)
        devices = ET.fromstring(text).find("devices")  # noqa: S314 - libvirt's own
        return ET.Element("devices") if devices is None else devices

    def device(self, find: Find, *, live: bool) -> ET.Element | None:
        if live and not self.active:
            return None
        return find(self.defined(live=live))

    def plug(self, element: ET.Element, find: Find) -> None:
        """Wherever it is missing."""
        flags = 0
        if self.active and self.device(find, live=True) is None:
            flags |= _LIVE
        if self.device(find, live=False) is None:
            flags |= _CONFIG
        if flags:
            self.found.attachDeviceFlags(ET.tostring(element, encoding="unicode"), flags)

    def keep(self, **changes: Any) -> None:
        spec = dataclasses.replace(self.layout.spec, **changes)
        self.directory.save(Layout(spec, self.layout.disks))


class HotPlug(Driver):
    """The part of the driver that plugs devices."""

    settings: LibvirtSettings
    _turns: Turns
    _line: Connection
    _watch: Watch
    _networks: FlatNetworks | None
    _mounts: Mounts

    # -- volumes --------------------------------------------------------------------------------------------

    def attach_volume(self, server_id: str, volume: VolumeDisk) -> str:
        with self._turns.take(server_id), self._line.speaking(), self._refusing():
            guest = self._plugged(server_id)
            find = disk_of(guest.layout, volume.volume_id)
            held = guest.device(find, live=True)
            if held is None:
                held = guest.device(find, live=False)
            bus = volume.disk_bus or _properties(guest).get("hw_disk_bus") or "virtio"
            name = target_of(held) if held is not None else _free_target(guest, bus, volume.device_name)
            guest.plug(volume_element(volume, name, bus), find)
            kept = dataclasses.replace(volume, device_name=f"/dev/{name}")
            others = [disk for disk in guest.layout.spec.disks if disk.volume_id != volume.volume_id]
            guest.keep(disks=(*others, kept))
            return kept.device_name

    def detach_volume(self, server_id: str, volume_id: str) -> None:
        with self._turns.take(server_id) as revoked, self._line.speaking():
            guest = self._plugged(server_id)
            self._take_out(guest, disk_of(guest.layout, volume_id), f"volume {volume_id}", revoked)
            left = tuple(disk for disk in guest.layout.spec.disks if disk.volume_id != volume_id)
            guest.keep(disks=left)

    def swap_volume(self, server_id: str, volume_id: str, new: VolumeDisk) -> None:
        with self._turns.take(server_id) as revoked, self._line.speaking():
            guest = self._plugged(server_id)
            held = guest.device(disk_of(guest.layout, volume_id), live=True)
            if held is None:
                kept = next(
                    (disk for disk in guest.layout.spec.disks if disk.volume_id == new.volume_id), None
                )
                if kept is not None and kept.connection == new.connection:
                    return
                raise errors.DeviceNotFound(f"guest {server_id} runs with no volume {volume_id}")
            name, target = target_of(held), held.find("target")
            bus = target.get("bus", "virtio") if target is not None else "virtio"
            element = volume_element(new, name, bus)
            if not _same_source(held, element):
                self._copy(guest, name, element, revoked)
            kept = dataclasses.replace(new, device_name=f"/dev/{name}")
            defined = guest.device(named(name), live=False)
            if defined is not None and not _same_source(defined, element):
                guest.found.detachDeviceFlags(ET.tostring(defined, encoding="unicode"), _CONFIG)
                defined = None
            if defined is None:
                guest.found.attachDeviceFlags(ET.tostring(element, encoding="unicode"), _CONFIG)
            gone = (volume_id, new.volume_id)
            others = [disk for disk in guest.layout.spec.disks if disk.volume_id not in gone]
            guest.keep(disks=(*others, kept))

    def extend_volume(self, server_id: str, volume_id: str, size_gb: int) -> None:
        with self._turns.take(server_id), self._line.speaking():
            guest = self._plugged(server_id)
            find = disk_of(guest.layout, volume_id)
            held = guest.device(find, live=True)
            if held is not None:
                guest.found.blockResize(target_of(held), size_gb << 30, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
            elif guest.device(find, live=False) is None:
                raise errors.DeviceNotFound(f"guest {server_id} has no volume {volume_id}")

    def _copy(self, guest: Plugged, name: str, element: ET.Element, revoked: Revoked) -> None:
        """Mirrors a disk of a running guest to another place, and lets it go on there."""
        server_id = guest.layout.spec.server_id
        with self._watch.on(server_id) as waiter:
            if not guest.found.blockJobInfo(name):
                guest.found.blockCopy(name, ET.tostring(element, encoding="unicode"), flags=_COPY)
            deadline = self.settings.volume_swap_timeout
            met = waiter.until(lambda: revoked() or _copied(guest.found, name), deadline)
        if revoked() or not met:
            guest.found.blockJobAbort(name)
            raise errors.VolumeSwapFailed(
                f"disk {name} of guest {server_id} was not copied in {deadline:g} s"
            )
        guest.found.blockJobAbort(name, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)

    # -- network cards --------------------------------------------------------------------------------------

    def attach_interface(self, server_id: str, nic: NicSpec) -> None:
        with self._turns.take(server_id), self._line.speaking(), self._refusing():
            guest = self._plugged(server_id)
            nic = self._acceptable_nic(nic)
            if self._networks is not None:
                self._networks.plug(server_id, nic)
            guest.plug(domain.nic_element(nic, _properties(guest)), card_of(nic.port_id))
            others = [known for known in guest.layout.spec.nics if known.port_id != nic.port_id]
            guest.keep(nics=(*others, nic))

    def detach_interface(self, server_id: str, port_id: str) -> None:
        with self._turns.take(server_id) as revoked, self._line.speaking():
            guest = self._plugged(server_id)
            self._take_out(guest, card_of(port_id), f"port {port_id}", revoked)
            guest.keep(nics=tuple(nic for nic in guest.layout.spec.nics if nic.port_id != port_id))
            if self._networks is not None:
                self._networks.unplug(server_id, port_id)

    # -- shares ---------------------------------------------------------------------------------------------

    def attach_share(self, server_id: str, share: ShareMount) -> None:
        """The next start defines the guest anew, from what is written down."""
        with self._turns.take(server_id), self._line.speaking():
            guest = self._plugged(server_id)
            known = {kept.share_id: kept for kept in guest.layout.spec.shares}
            if known.get(share.share_id) == share:
                return
            if guest.active:
                raise errors.GuestInWrongState(f"guest {server_id} runs", state="running")
            if not self._capabilities().share_protocols:
                raise errors.HostRefuses(f"{self.host} gives no shares to its guests")
            guest.keep(shares=tuple({**known, share.share_id: share}.values()))

    def detach_share(self, server_id: str, share_id: str) -> None:
        with self._turns.take(server_id), self._line.speaking():
            found = self._get(server_id)
            directory = GuestDirectory(self.settings.instances, server_id)
            layout = directory.load()
            held = layout.spec.shares if layout is not None else ()
            left = tuple(kept for kept in held if kept.share_id != share_id)
            if layout is not None and left != held:
                if found is not None and found.isActive():
                    raise errors.GuestInWrongState(f"guest {server_id} runs", state="running")
                directory.save(
                    dataclasses.replace(layout, spec=dataclasses.replace(layout.spec, shares=left))
                )
            self._mounts.unmount(server_id, share_id)

    # -- inside ---------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def _get(self, server_id: str) -> Any: ...

    @abc.abstractmethod
    def _capabilities(self) -> Capabilities: ...

    @abc.abstractmethod
    def _refusing(self) -> AbstractContextManager[None]: ...

    @abc.abstractmethod
    def _acceptable_nic(self, nic: NicSpec) -> NicSpec: ...

    def _plugged(self, server_id: str) -> Plugged:
        found = self._get(server_id)
        directory = GuestDirectory(self.settings.instances, server_id)
        layout = directory.load()
        if found is None or layout is None:
            raise errors.GuestInWrongState(f"guest {server_id} was never made whole")
        return Plugged(found, directory, layout)

    def _take_out(self, guest: Plugged, find: Find, what: str, revoked: Revoked) -> None:
        """From the running guest, asked as often as the operator wants, then from its definition."""
        server_id = guest.layout.spec.server_id
        with self._watch.on(server_id) as waiter:
            for _ in range(self.settings.device_detach_attempts):
                held = guest.device(find, live=True)
                if held is None:
                    break
                _ask_back(guest.found, held)
                gone = waiter.until(
                    lambda: revoked() or guest.device(find, live=True) is None,
                    self.settings.device_detach_timeout,
                )
                if gone:
                    break
        if revoked():
            raise errors.Cancelled("taken back while the guest was to give a device back")
        if guest.device(find, live=True) is not None:
            raise errors.DeviceDetachFailed(f"guest {server_id} does not let go of {what}")
        defined = guest.device(find, live=False)
        if defined is not None:
            guest.found.detachDeviceFlags(ET.tostring(defined, encoding="unicode"), _CONFIG)


def _ask_back(found: Any, held: ET.Element) -> None:
    try:
        found.detachDeviceFlags(ET.tostring(held, encoding="unicode"), _LIVE)
    except libvirt.libvirtError as error:
        if error.get_error_code() not in (*_GONE, *_UNDER_WAY):
            raise


def disk_of(layout: Layout, volume_id: str) -> Find:
    """Finds a volume by the name it was given; where none is written down, by the serial the guest sees."""
    names = [disk.device_name for disk in layout.spec.disks if disk.volume_id == volume_id]
    name = names[0].removeprefix("/dev/") if names else ""

    def find(devices: ET.Element) -> ET.Element | None:
        for disk in devices.iterfind("disk"):
            if disk.findtext("serial") == volume_id or (name and target_of(disk) == name):
                return disk
        return None

    return find


def named(name: str) -> Find:
    """Finds a disk by its name."""

    def find(devices: ET.Element) -> ET.Element | None:
        return next((disk for disk in devices.iterfind("disk") if target_of(disk) == name), None)

    return find


def card_of(port_id: str) -> Find:
    def find(devices: ET.Element) -> ET.Element | None:
        for card in devices.iterfind("interface"):
            if target_of(card) == domain.tap_name(port_id):
                return card
        return None

    return find


def _properties(guest: Plugged) -> Any:
    image = guest.layout.spec.image
    return image.properties if image else {}


def target_of(element: ET.Element) -> str:
    target = element.find("target")
    return target.get("dev", "") if target is not None else ""


def _free_target(guest: Plugged, bus: str, wanted: str) -> str:
    """The name wished for, where it fits the bus and is free; else the first free one."""
    if bus not in domain.DISK_BUSES:
        raise errors.HostRefuses(f"there is no disk bus {bus!r} here")
    used = {
        target_of(disk)
        for live in (True, False)
        if not live or guest.active
        for disk in guest.defined(live=live).iterfind("disk")
    }
    return domain.Targets(used).take(bus, wanted)


def _same_source(held: ET.Element, element: ET.Element) -> bool:
    def place(disk: ET.Element) -> tuple[str | None, ...]:
        source = disk.find("source")
        return tuple(source.get(key) for key in ("file", "dev", "name")) if source is not None else ()

    return place(held) == place(element)


def _copied(found: Any, name: str) -> bool:
    info = found.blockJobInfo(name)
    return bool(info) and info["end"] > 0 and info["cur"] == info["end"]
