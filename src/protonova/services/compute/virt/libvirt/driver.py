"""Guests as QEMU processes under a libvirt daemon.

libvirt and the files of a guest's directory are the state; this class holds none that matters. Every call
looks at them first. The order within a spawn is: directory, image, disks, config drive, network, definition,
start; a destroy goes the other way round and ends with the directory, so that whatever a crash leaves can be
found again by the server id.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import libvirt

from protonova.common.v1.numa_pb2 import GuestTopology, HostTopology
from protonova.common.v1.pci_pb2 import PciDevice
from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import (
    Cancelled,
    EventCallback,
    GuestSpec,
    GuestState,
    HostInventory,
    ImageFetch,
    ImageSource,
    NicSpec,
    PowerState,
    Progress,
    SnapshotFile,
    never,
    quiet,
)
from protonova.services.compute.virt.turns import Turns
from protonova.services.pci.devices import Device

from . import (
    capabilities,
    config_drive,
    devices,
    disks,
    domain,
    image_ageing,
    mdevs,
    mediating,
    naming,
    power,
    snapshot,
)
from .connection import Connection
from .consoles import Consoles
from .hotplug import HotPlug
from .images import ImageCache
from .layout import GuestDirectory, Layout, LocalDisk, devices_held, half_made, topologies
from .metrics import Processors
from .moves import MovingGuests
from .network import FlatNetworks, bridge_name
from .rebuild import Rebuilds
from .settings import LibvirtSettings, qemu_user
from .volume_files import VolumeFiles
from .watch import Watch, power_state

LOG = logging.getLogger(__name__)

_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)
# Whatever tells of PCI devices: themselves, and the interfaces and vDPA devices that are made of them.
_NODE_DEVICES = (
    libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV
    | libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET
    | libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_VDPA
)


class LibvirtDriver(MovingGuests, Rebuilds, VolumeFiles, HotPlug, Consoles):
    def __init__(self, host: str, settings: LibvirtSettings, fetch: ImageFetch) -> None:
        self.host = host
        self.settings = settings
        for directory in (settings.instances, settings.images, settings.networks):
            directory.mkdir(parents=True, exist_ok=True)
        self._images = ImageCache(
            settings.images, fetch, max_bytes=settings.image_max_bytes, force_raw=settings.force_raw_images
        )
        self._networks: FlatNetworks | None = None
        if settings.network == "flat":
            self._networks = FlatNetworks(
                settings.networks, gateway=settings.network_gateway, metadata=settings.network_metadata
            )
        self._turns = Turns()
        self._ours: set[str] = set()
        self._marks: tuple[str, ...] = ()
        # Guests that were paused so that their live migration comes to an end.
        self._forced: set[str] = set()
        self._guard = threading.Lock()
        self._known: tuple[Any, capabilities.Capabilities] | None = None
        self._watch = Watch(self._ours.__contains__, self._exists, self._ours.discard)
        self._processors = Processors()
        self._line = Connection(settings.uri, self._watch.attach, self._watch.detach, self._watch.line_lost)
        self._watch.start(self._line.get)
        if (user := qemu_user(settings)) and not settings.run_as:
            LOG.warning("QEMU runs as %s: others cannot reach %s", user, settings.state_path)
        self.guests()  # fails early where there is no daemon, and learns which guests are ours
        if self._networks is not None:
            self._networks.tidy()

    def close(self) -> None:
        self._watch.close()
        self._line.close()

    def identify(self, marks: Sequence[str]) -> None:
        self._marks = tuple(marks)
        self.guests()  # learns anew which guests are ours

    # -- making and removing --------------------------------------------------------------------------------

    def spawn(self, spec: GuestSpec, progress: Progress = quiet, cancelled: Cancelled = never) -> GuestState:
        with self._turns.take(spec.server_id) as revoked:

            def taken_back() -> bool:
                return revoked() or cancelled()

            def check() -> None:
                if taken_back():
                    raise errors.Cancelled(f"the spawn of {spec.server_id} was taken back")

            check()
            found = self._find(spec.server_id)
            directory = GuestDirectory(self.settings.instances, spec.server_id)
            if found is not None and found.isActive():
                return self._made(found, directory.load())
            spec = self._acceptable(spec)
            directory.make(self.host)
            directory.keep_topology(spec.numa)
            directory.keep_devices(spec.devices)
            disks.room(directory.path, spec)
            base = None
            if spec.image is not None:
                progress(5, "image")
                base = self._images.get(
                    spec.image, lambda share: progress(5 + int(55 * min(share, 1.0)), "image"), taken_back
                )
                disks.fits(spec, base.virtual_size)
            check()
            progress(60, "disks")
            layout = Layout(spec, disks.make(spec, directory, base))
            check()
            progress(80, "network")
            self._plug(spec)
            check()
            progress(90, "start")
            state = self._define_and_start(layout, directory)
            progress(100, "running")
            return state

    def destroy(self, server_id: str) -> None:
        with self._turns.take(server_id, revoking=True):
            directory = GuestDirectory(self.settings.instances, server_id)
            found = self._find(server_id)
            if found is not None:
                with self._line.speaking():
                    power.stop(found)
                    with power.not_running_is_fine():
                        found.undefineFlags(_UNDEFINE)
            if self._networks is not None:
                self._networks.unplug(server_id)
            if (layout := directory.load()) is not None and (vgpus := mdevs.wanted(layout.spec.extra_specs)):
                with self._line.speaking() as connection:
                    mediating.remove(connection, server_id, vgpus)
            # Where hosts share their directory, a guest that went to another one keeps its files.
            if directory.owner() in ("", self.host):
                directory.remove()

    # -- power ----------------------------------------------------------------------------------------------

    def power_on(self, server_id: str, spec: GuestSpec | None = None) -> GuestState:
        with self._turns.take(server_id):
            found = self._get(server_id)
            with self._line.speaking():
                if found is not None and found.isActive():
                    if found.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                        found.resume()
                    return self._state(found)
            return self._start_again(server_id, found, spec)

    def power_off(self, server_id: str, timeout: float = 60.0, graceful: bool = True) -> GuestState:
        with self._turns.take(server_id) as revoked:
            found = self._get(server_id)
            with self._line.speaking():
                if found is None:
                    return self._state_of(server_id)
                listens = found.isActive() and found.state()[0] == libvirt.VIR_DOMAIN_RUNNING
                if not (
                    graceful
                    and timeout > 0
                    and listens
                    and power.ask_to_stop(found, server_id, self._watch, timeout, revoked)
                ):
                    power.stop(found)
                # What went on from saved memory would not be off.
                power.drop_saved(found)
            return self._state(found)

    def reboot(
        self, server_id: str, hard: bool, timeout: float = 60.0, spec: GuestSpec | None = None
    ) -> GuestState:
        with self._turns.take(server_id) as revoked:
            found = self._get(server_id)
            if hard:
                with self._line.speaking():
                    if found is not None:
                        power.stop(found)
                        power.drop_saved(found)
                return self._start_again(server_id, found, spec)
            with self._line.speaking():
                if found is None or not found.isActive():
                    raise errors.GuestInWrongState(f"guest {server_id} does not run, it cannot reboot itself")
                power.ask_to_reboot(found, server_id, self._watch, timeout, revoked)
                if found.isActive():
                    return self._state(found)
            return self._start_again(server_id, found, spec)

    def _start_again(self, server_id: str, found: Any, spec: GuestSpec | None) -> GuestState:
        """Define a guest that is off anew, from what is written down or ordered now, and start it."""
        directory = GuestDirectory(self.settings.instances, server_id)
        layout = directory.load()
        if layout is None and found is None:
            raise errors.GuestInWrongState(f"guest {server_id} was never made whole; spawn or destroy it")
        if layout is None:
            with self._line.speaking(), self._refusing():
                if not found.isActive():
                    found.create()
            return self._state(found)
        if spec is not None:
            layout = _renewed(layout, self._acceptable(spec), directory)
        self._plug(layout.spec)
        return self._define_and_start(layout, directory)

    # -- looking --------------------------------------------------------------------------------------------

    def console_output(self, server_id: str, max_bytes: int = 102400) -> bytes:
        directory = GuestDirectory(self.settings.instances, server_id)
        self._get(server_id)
        output = b""
        for log in directory.console_logs():
            wanted = max_bytes - len(output)
            if wanted <= 0:
                break
            try:
                with log.open("rb") as file:
                    size = file.seek(0, os.SEEK_END)
                    file.seek(max(0, size - wanted))
                    output = file.read(wanted) + output
            except FileNotFoundError:
                break
            except PermissionError as error:
                raise errors.DriverError(f"the agent may not read {log}") from error
        return output

    def guests(self) -> list[GuestState]:
        found = []
        with self._line.speaking() as connection:
            for candidate in connection.listAllDomains():
                with _vanished_is_fine():
                    if self._is_ours(candidate):
                        found.append(self._state(candidate))
        known = {state.server_id for state in found}
        return found + list(half_made(self.settings.instances, known, self.host))

    def guest(self, server_id: str) -> GuestState:
        return self._state_of(server_id)

    def prefetch_image(self, image: ImageSource, cancelled: Cancelled = never) -> bool:
        if self._images.has(image):
            return True
        self._images.get(image, cancelled=cancelled)
        return False

    # -- copies of root disks -------------------------------------------------------------------------------

    def snapshot(self, server_id: str, snapshot_id: str, cancelled: Cancelled = never) -> None:
        with self._turns.take(server_id) as revoked:
            found = self._get(server_id)
            directory = GuestDirectory(self.settings.instances, server_id)
            with self._line.speaking():
                snapshot.take(found, directory, snapshot_id, lambda: revoked() or cancelled())

    def open_snapshot(self, server_id: str, snapshot_id: str) -> SnapshotFile:
        return snapshot.opened(GuestDirectory(self.settings.instances, server_id), snapshot_id)

    def drop_snapshot(self, server_id: str, snapshot_id: str) -> None:
        GuestDirectory(self.settings.instances, server_id).snapshot(snapshot_id).unlink(missing_ok=True)

    def forget_images(self, unused_seconds: float) -> int:
        return image_ageing.forget_unused(self._images, self.settings.instances, unused_seconds)

    def inventory(self) -> HostInventory:
        with self._line.speaking() as connection:
            return capabilities.inventory(connection, self._capabilities(), self.settings)

    def metrics(self) -> Mapping[str, float]:
        with self._line.speaking() as connection:
            return self._processors.measure(connection)

    def topology(self) -> HostTopology | None:
        return self._capabilities().topology

    def topologies(self) -> Mapping[str, GuestTopology]:
        return topologies(self.settings.instances)

    def pci_devices(self) -> Sequence[Device]:
        with self._line.speaking() as connection:
            return devices.read(_documents(connection))

    def devices_held(self) -> Mapping[str, Sequence[PciDevice]]:
        return devices_held(self.settings.instances)

    def events(self, callback: EventCallback) -> Callable[[], None]:
        return self._watch.listen(callback)

    # -- inside ---------------------------------------------------------------------------------------------

    def _acceptable(self, spec: GuestSpec) -> GuestSpec:
        """Refuse what can be known before anything is fetched or made; name the bridges."""
        nics = tuple(self._acceptable_nic(nic) for nic in spec.nics)
        disks.fits(spec)
        spec = dataclasses.replace(spec, nics=nics)
        domain.build(Layout(spec, ()), self._facts(), "")
        return spec

    def _acceptable_nic(self, nic: NicSpec) -> NicSpec:
        if nic.vnic_type != "normal":
            raise errors.HostRefuses(f"ports of type {nic.vnic_type} cannot be plugged here")
        if self._networks is None and not nic.bridge:
            raise errors.NetworkUnavailable(f"the binding of port {nic.port_id} names no bridge")
        return dataclasses.replace(nic, bridge=bridge_name(nic))

    def _plug(self, spec: GuestSpec) -> None:
        if self._networks is not None:
            for nic in spec.nics:
                self._networks.plug(spec.server_id, nic)

    def _define_and_start(
        self, layout: Layout, directory: GuestDirectory, booted: Layout | None = None, *, start: bool = True
    ) -> GuestState:
        """`layout` is what the guest is and is kept; `booted` is what runs, where that is something else."""
        facts = dataclasses.replace(self._facts(), serial=self._serial_address())
        with self._line.speaking() as connection, self._refusing():
            there = _lookup(connection, layout.spec.server_id)
            if there is not None and not self._is_ours(there):  # to define it would be to replace theirs
                raise errors.HostRefuses(f"a guest {layout.spec.server_id} here belongs to somebody else")
            vgpus = mdevs.wanted(layout.spec.extra_specs)
            mediating.make(connection, layout.spec.server_id, vgpus, self.settings.mdev_types)
            layout, found = self._define(connection, layout, booted, facts, directory)
            self._ours.add(layout.spec.server_id)
            if start and not found.isActive():
                found.create()
        return self._made(found, layout)

    def _define(
        self,
        connection: Any,
        layout: Layout,
        booted: Layout | None,
        facts: domain.HostFacts,
        directory: GuestDirectory,
    ) -> tuple[Layout, Any]:
        """The domain, and the layout under the name that it has: its own may be taken by a guest of others, and be
        taken between the look and the definition."""
        name = naming.free(connection, layout.spec)
        while True:
            layout = naming.renamed(layout, name)
            directory.save(layout)
            definition = domain.build(
                naming.renamed(booted, name) if booted else layout, facts, str(directory.console)
            )
            try:
                return layout, connection.defineXML(definition)
            except libvirt.libvirtError:
                if (other := naming.free(connection, layout.spec)) == name:
                    raise
                name = other

    def _made(self, found: Any, layout: Layout | None) -> GuestState:
        """The state of a guest, with what is known of it from its definition."""
        root = domain.root_device(domain.build(layout, self._facts(), "")) if layout else ""
        return dataclasses.replace(self._state(found), root_device=root)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """A start that fails for a reason of its own fails on this host; another one may do better."""
        try:
            yield
        except libvirt.libvirtError as error:
            translated = self._line.translated(error, self._line.get())
            if type(translated) is errors.DriverError:
                raise errors.HostRefuses(translated.message) from error
            raise translated from error

    def _find(self, server_id: str) -> Any:
        """The domain of this guest if there is one and it is ours."""
        with self._line.speaking() as connection:
            found = _lookup(connection, server_id)
            return found if found is not None and self._is_ours(found) else None

    def _get(self, server_id: str) -> Any:
        """The domain of a guest of this host; None where only its files are there."""
        directory = GuestDirectory(self.settings.instances, server_id)
        found = self._find(server_id)
        if found is None and not directory.path.exists():
            raise errors.GuestNotFound(f"no guest {server_id} on {self.host}", server_id=server_id)
        return found

    def _state_of(self, server_id: str) -> GuestState:
        found = self._get(server_id)
        if found is not None:
            return self._state(found)
        return GuestDirectory(self.settings.instances, server_id).half_made()

    def _is_ours(self, candidate: Any) -> bool:
        try:
            element = candidate.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, domain.METADATA)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN_METADATA:
                raise
            return False
        server_id = candidate.UUIDString()
        host, mark = domain.owner_of(element)
        ours = host == self.host
        if mark:
            ours = ours and mark in self._marks
        else:  # made before there were marks, or by a driver that has none: its files tell
            ours = ours and GuestDirectory(self.settings.instances, server_id).path.exists()
        if ours:
            self._ours.add(server_id)
        else:
            self._ours.discard(server_id)
        return ours

    def _exists(self, server_id: str) -> bool:
        try:
            return self._find(server_id) is not None
        except errors.GuestNotFound:  # it went while it was looked at
            return False

    def _state(self, found: Any) -> GuestState:
        with self._line.speaking():
            _state, memory_kb, _memory, vcpus, _time = found.info()
            now = power_state(*found.state())
            if now is PowerState.SHUTDOWN and power.is_saved(found):
                now = PowerState.SUSPENDED
            return GuestState(found.UUIDString(), found.name(), now, vcpus, memory_kb // 1024)

    def _capabilities(self) -> capabilities.Capabilities:
        with self._line.speaking() as connection, self._guard:
            if self._known is None or self._known[0] is not connection:
                self._known = connection, capabilities.discover(connection, self.settings)
            return self._known[1]

    def _facts(self) -> domain.HostFacts:
        facts = capabilities.facts(self.host, self._capabilities(), self.settings)
        return dataclasses.replace(facts, mark=self._marks[-1] if self._marks else "")


def _lookup(connection: Any, server_id: str) -> Any:
    try:
        return connection.lookupByUUIDString(server_id)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise
        return None


def _documents(connection: Any) -> Iterator[str]:
    """Of node devices that tell of PCI devices. One can go between the moment it is listed and the moment it is
    looked at."""
    for found in connection.listAllDevices(_NODE_DEVICES):
        try:
            yield found.XMLDesc()
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_NODE_DEVICE:
                raise


def _renewed(layout: Layout, spec: GuestSpec, directory: GuestDirectory) -> Layout:
    """The disks as they are, everything else as ordered now."""
    files = tuple(disk for disk in layout.disks if disk.role != "config")
    if spec.config_drive:
        if spec.documents or not directory.config_drive.exists():
            config_drive.write(directory.config_drive, config_drive.documents(spec))
        files += (LocalDisk("config", str(directory.config_drive), "raw", "cdrom"),)
    spec = dataclasses.replace(
        spec, numa=spec.numa or layout.spec.numa, devices=spec.devices or layout.spec.devices
    )
    return Layout(spec, files)


@contextmanager
def _vanished_is_fine() -> Iterator[None]:
    """A domain can go between the moment it is listed and the moment it is looked at."""
    try:
        yield
    except errors.GuestNotFound:
        pass
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise
