"""Files under the volumes of running guests, which stand on each other: one more on top, and fewer below.

libvirt's own description of the running guest tells which files there are, so each call sees what an earlier one
has done. A merge is a job of QEMU's: one that runs is joined, and it is over when the files are fewer.
"""

from __future__ import annotations

import logging
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import PowerState, VolumeDisk, VolumeUsage

from .hotplug import HotPlug, Plugged, disk_of, target_of

LOG = logging.getLogger(__name__)

_SNAPSHOT = (
    libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT
)


class VolumeFiles(HotPlug):
    """The part of the driver that is about these."""

    def snapshot_volume(self, server_id: str, volume_id: str, new_file: str) -> Mapping[str, Any]:
        with self._turns.take(server_id), self._line.speaking():
            guest = self._plugged(server_id)
            held = self._running_disk(guest, volume_id)
            place = _beside(_files(held, volume_id)[0], new_file)
            if _files(held, volume_id)[0] != place:
                if not place.is_file():
                    raise errors.VolumeUnacceptable(f"there is no file {new_file} beside volume {volume_id}")
                guest.found.snapshotCreateXML(_order(guest, target_of(held), place), _SNAPSHOT)
            disks = tuple(
                _going_on(disk, place) if disk.volume_id == volume_id else disk
                for disk in guest.layout.spec.disks
            )
            guest.keep(disks=disks)
            return next((disk.connection for disk in disks if disk.volume_id == volume_id), {})

    def volume_usage(self) -> Sequence[VolumeUsage]:
        told: list[VolumeUsage] = []
        for state in self.guests():
            if state.power_state is not PowerState.RUNNING:
                continue
            try:
                with self._line.speaking():
                    told += _measured(self._plugged(state.server_id))
            except errors.DriverError as error:
                if error.transient:
                    raise
                LOG.info("The volumes of guest %s are not measured: %s", state.server_id, error)
        return told

    def merge_volume(
        self, server_id: str, volume_id: str, file_to_merge: str, merge_target_file: str
    ) -> None:
        with self._turns.take(server_id) as revoked, self._line.speaking():
            guest = self._plugged(server_id)
            held = self._running_disk(guest, volume_id)
            name, top = target_of(held), _files(held, volume_id)[0]
            source = _beside(top, file_to_merge) if file_to_merge else None
            target = _beside(top, merge_target_file) if merge_target_file else None

            def done() -> bool:
                files = _files(self._running_disk(guest, volume_id), volume_id)
                if target is not None:
                    return source not in files
                return files[1:2] == ([source] if source is not None else [])

            def over() -> bool:
                return revoked() or not guest.found.blockJobInfo(name)

            with self._watch.on(server_id) as waiter:
                if over() and not done():
                    _begin(guest.found, name, source, target, _files(held, volume_id))
                waiter.until(over, self.settings.volume_swap_timeout)
            if revoked():
                raise errors.Cancelled("taken back while files of a volume were merged")
            if not done():
                raise errors.VolumeMergeFailed(f"files of volume {volume_id} were not merged")

    def _running_disk(self, guest: Plugged, volume_id: str) -> ET.Element:
        server_id = guest.layout.spec.server_id
        if not guest.active:
            raise errors.GuestInWrongState(f"guest {server_id} does not run")
        held = guest.device(disk_of(guest.layout, volume_id), live=True)
        if held is None:
            raise errors.DeviceNotFound(f"guest {server_id} has no volume {volume_id}")
        return held


def _measured(guest: Plugged) -> Iterator[VolumeUsage]:
    for disk in guest.layout.spec.disks:
        held = guest.device(disk_of(guest.layout, disk.volume_id), live=True)
        if held is not None:
            figures = guest.found.blockStats(target_of(held))[:4]
            yield VolumeUsage(guest.layout.spec.server_id, disk.volume_id, *figures)


def _begin(found: Any, name: str, source: Path | None, target: Path | None, files: list[Path]) -> None:
    if target is None:
        if source is not None and source not in files:
            raise errors.VolumeMergeFailed(f"disk {name} does not stand on {source.name}")
        found.blockRebase(name, str(source) if source is not None else None, 0, 0)
        return
    if source is None or source not in files[1:] or target not in files[files.index(source) + 1 :]:
        raise errors.VolumeMergeFailed(f"disk {name} does not stand on these files one above the other")
    found.blockCommit(name, str(target), str(source), 0, 0)


def _files(disk: ET.Element, volume_id: str) -> list[Path]:
    """The file the guest writes to, and those below it."""
    files: list[Path] = []
    level: ET.Element | None = disk
    while level is not None:
        source = level.find("source")
        path = source.get("file", "") if source is not None else ""
        if not path:
            break
        files.append(Path(path))
        level = level.find("backingStore")
    if not files:
        raise errors.VolumeUnacceptable(f"volume {volume_id} is no file here")
    return files


def _beside(file: Path, name: str) -> Path:
    if name in (".", "..") or "/" in name or "\0" in name:
        raise errors.VolumeUnacceptable(f"{name!r} is no name of a file beside a volume's")
    return file.parent / name


def _order(guest: Plugged, name: str, place: Path) -> str:
    """A snapshot of this disk and of no other one."""
    root = ET.Element("domainsnapshot")
    disks = ET.SubElement(root, "disks")
    for disk in guest.defined(live=True).iterfind("disk"):
        other = target_of(disk)
        if other != name:
            ET.SubElement(disks, "disk", name=other, snapshot="no")
    chosen = ET.SubElement(disks, "disk", name=name, snapshot="external", type="file")
    ET.SubElement(chosen, "driver", type="qcow2")
    ET.SubElement(chosen, "source", file=str(place))
    return ET.tostring(root, encoding="unicode")


def _going_on(disk: VolumeDisk, place: Path) -> VolumeDisk:
    data = {**(disk.connection.get("data") or {}), "device_path": str(place), "format": "qcow2"}
    return replace(disk, connection={**disk.connection, "data": data})
