"""Rescue: the guest boots from a fresh disk of another image, with its own disks beside it.

What a guest is stays in its `guest.json`; a rescue is only another definition of the domain, with one more disk.
Every start that is no rescue defines the domain from `guest.json`, so whatever stops half way is put right by the
next start, and the files of a rescue are nobody's once the domain does not run from them.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from pathlib import Path
from typing import Any

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import (
    Cancelled,
    GuestSpec,
    GuestState,
    ImageSource,
    Progress,
    never,
    quiet,
)

from . import config_drive, disks, power, qemu_img
from .images import Base, ImageCache
from .layout import GuestDirectory, Layout, LocalDisk
from .states import GuestStates

_BUS = "hw_rescue_bus"
_DEVICE = "hw_rescue_device"
_GIB = 1 << 30


class Rescues(GuestStates):
    """Rescue and its end."""

    _images: ImageCache

    @abstractmethod
    def _define_and_start(
        self, layout: Layout, directory: GuestDirectory, booted: Layout | None = None, *, start: bool = True
    ) -> GuestState: ...

    def rescue(
        self, spec: GuestSpec, image: ImageSource, progress: Progress = quiet, cancelled: Cancelled = never
    ) -> GuestState:
        with self._turns.take(spec.server_id) as revoked:

            def taken_back() -> bool:
                return revoked() or cancelled()

            directory = GuestDirectory(self.settings.instances, spec.server_id)
            found, layout = self._get(spec.server_id), directory.load()
            if layout is None:
                raise errors.GuestInWrongState(f"guest {spec.server_id} was never made whole")
            with self._line.speaking():
                if found is not None and power.is_active(found) and _runs_from(found, directory.rescue_disk):
                    return self._state(found)
            disks.fits(dataclasses.replace(layout.spec, image=image))
            progress(5, "image")
            base = self._images.get(
                image, lambda share: progress(5 + int(55 * min(share, 1.0)), "image"), taken_back
            )
            if taken_back():
                raise errors.Cancelled(f"the rescue of {spec.server_id} was taken back")
            progress(60, "disks")
            booted = _rescued(layout, spec, image, base, directory)
            with self._line.speaking():
                if found is not None:
                    power.stop(found)
                    power.drop_saved(found)
            progress(80, "network")
            self._plug(layout.spec)
            progress(90, "start")
            state = self._define_and_start(layout, directory, booted)
            progress(100, "running")
            return state

    def unrescue(self, server_id: str, *, start: bool = True) -> GuestState:
        with self._turns.take(server_id):
            directory = GuestDirectory(self.settings.instances, server_id)
            found = self._get(server_id)
            with self._line.speaking():
                active = found is not None and power.is_active(found)
                if active and _runs_from(found, directory.rescue_disk):
                    power.stop(found)
                    active = False
            if start and not active:
                state = self._start_again(server_id, found, None)
            else:
                state = self.guest(server_id)
            directory.forget_rescue()
            return state


def _rescued(
    layout: Layout, spec: GuestSpec, image: ImageSource, base: Base, directory: GuestDirectory
) -> Layout:
    """The guest with its rescue disk. The disk is made anew each time: nothing runs from it now."""
    directory.forget_rescue()
    properties = image.properties
    stable = _BUS in properties or _DEVICE in properties
    device = properties.get(_DEVICE) or ("cdrom" if image.disk_format == "iso" else "disk")
    if device not in ("disk", "cdrom"):
        raise errors.ImageUnacceptable(f"{_DEVICE} is {device!r}; a rescue disk is a disk or a cdrom")
    # A CD, which nobody writes to, gets a layer of its own as well: it shows that the image is in use.
    size = base.virtual_size if device == "cdrom" else max(layout.spec.root_gb * _GIB, base.virtual_size)
    disks.once(directory.rescue_disk, lambda part: qemu_img.overlay(base.path, base.format, part, size))
    rescue = LocalDisk(
        "rescue",
        str(directory.rescue_disk),
        "qcow2",
        device,
        bus=properties.get(_BUS, ""),
        last=stable,
    )
    others = layout.disks
    if spec.config_drive and spec.documents:
        config_drive.write(directory.rescue_config, config_drive.documents(spec))
        others = tuple(
            dataclasses.replace(disk, file=str(directory.rescue_config)) if disk.role == "config" else disk
            for disk in others
        )
    return Layout(layout.spec, (*others, rescue) if stable else (rescue, *others))


def _runs_from(found: Any, disk: Path) -> bool:
    """Whether a running domain has this disk."""
    return f"'{disk}'" in found.XMLDesc(0)
