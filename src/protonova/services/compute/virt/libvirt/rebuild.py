"""Rebuild: the guest's own disks are wiped and made anew, once.

The order is: image, stop, wipe, the mark of who wanted it, disks, network, definition, start. Until the mark is
written nothing new is there that could be lost, so a repeat wipes again; after it, a repeat only makes whole what
is missing.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from typing import Any

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import (
    Cancelled,
    GuestSpec,
    GuestState,
    Progress,
    never,
    quiet,
)

from . import disks, power
from .layout import GuestDirectory, Layout
from .rescue import Rescues


class Rebuilds(Rescues):
    """Rebuild."""

    @abstractmethod
    def _find(self, server_id: str) -> Any: ...
    @abstractmethod
    def _acceptable(self, spec: GuestSpec) -> GuestSpec: ...
    @abstractmethod
    def _made(self, found: Any, layout: Layout | None) -> GuestState: ...

    def rebuild(
        self,
        spec: GuestSpec,
        token: str,
        *,
        preserve_ephemeral: bool = False,
        start: bool = True,
        progress: Progress = quiet,
        cancelled: Cancelled = never,
    ) -> GuestState:
        with self._turns.take(spec.server_id) as revoked:

            def taken_back() -> bool:
                return revoked() or cancelled()

            found = self._find(spec.server_id)
            directory = GuestDirectory(self.settings.instances, spec.server_id)
            wiped = directory.rebuilt_for() == token
            if wiped and found is not None and power.is_active(found):
                return self._made(found, directory.load())
            spec = self._acceptable(
                dataclasses.replace(
                    spec,
                    numa=spec.numa or directory.topology(),
                    devices=spec.devices or directory.devices(),
                )
            )
            base = None
            if spec.image is not None:
                progress(5, "image")
                base = self._images.get(
                    spec.image, lambda share: progress(5 + int(55 * min(share, 1.0)), "image"), taken_back
                )
                disks.fits(spec, base.virtual_size)
            if taken_back():
                raise errors.Cancelled(f"the rebuild of {spec.server_id} was taken back")
            progress(60, "disks")
            directory.make()
            directory.keep_topology(spec.numa)
            directory.keep_devices(spec.devices)
            if not wiped:
                with self._line.speaking():
                    if found is not None:
                        power.stop(found)
                        power.drop_saved(found)
                directory.wipe(keep_ephemeral=preserve_ephemeral)
                directory.note_rebuilt_for(token)
            disks.room(directory.path, spec)
            layout = Layout(spec, disks.make(spec, directory, base))
            progress(80, "network")
            self._plug(spec)
            progress(90, "start" if start else "define")
            state = self._define_and_start(layout, directory, start=start)
            progress(100, "running" if start else "made")
            return state
