"""A hypervisor that exists in memory only, for tests, simulations and clouds without hardware.

It keeps every promise of the driver door (idempotence, events, restart of the agent) and costs next to
nothing: thousands of guests, and hundreds of hosts in one process. A fault plan decides what fails and how
long things take. The methods that no other driver has (`shut_down_inside`, `crash`, `lose`,
`power_failure`) do from outside what happens to real guests by themselves.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from protonova.common.v1.numa_pb2 import GuestTopology, HostTopology
from protonova.common.v1.pci_pb2 import PciDevice
from protonova.services.compute.virt import cells, errors
from protonova.services.compute.virt.cells import CpuSets
from protonova.services.compute.virt.driver import (
    Cancelled,
    EventCallback,
    GuestEvent,
    GuestEventKind,
    GuestSpec,
    GuestState,
    HostInventory,
    ImageSource,
    PowerState,
    Progress,
    SnapshotFile,
    never,
    quiet,
)
from protonova.services.compute.virt.turns import Revoked, Turns
from protonova.services.pci.devices import Device

from .cells import cells as equal_cells
from .console import render
from .consoles import FakeConsoles
from .courier import COURIER
from .faults import FaultPlan
from .moves import MovingGuests
from .plugging import FakePlugging
from .states import GuestStates
from .store import SHARED, Record

TRAITS = frozenset(
    {
        "COMPUTE_IMAGE_TYPE_ISO",
        "COMPUTE_IMAGE_TYPE_QCOW2",
        "COMPUTE_IMAGE_TYPE_RAW",
        "COMPUTE_MEM_BACKING_FILE",
        "COMPUTE_NET_VIF_MODEL_VIRTIO",
        "COMPUTE_NODE",
        "COMPUTE_RESCUE_BFV",
        "COMPUTE_SOCKET_PCI_NUMA_AFFINITY",
        "COMPUTE_STORAGE_BUS_VIRTIO",
        "COMPUTE_STORAGE_VIRTIO_FS",
        "HW_CPU_X86_AVX2",
    }
)

_ROOT_DEVICES = {"virtio": "/dev/vda", "ide": "/dev/hda"}


@dataclass(frozen=True)
class FakeSettings:
    vcpus: int = 64
    memory_mb: int = 262144
    disk_gb: int = 4096
    numa_cells: int = 1
    threads_per_core: int = 1
    huge_pages: Mapping[int, int] = field(default_factory=dict)  # of the whole host, by size in KiB
    vgpus: int = 0
    sockets: int = 0  # 0 = one for each cell
    pci_devices: tuple[Device, ...] = ()
    cpu_sets: CpuSets = field(default_factory=CpuSets)
    reserved_memory_mb: int = 512
    cpu_allocation_ratio: float = 4.0
    memory_allocation_ratio: float = 1.0
    disk_allocation_ratio: float = 1.0
    enforce_capacity: bool = True
    traits: frozenset[str] = TRAITS
    metrics: Mapping[str, float] = field(default_factory=dict)
    share_protocols: tuple[str, ...] = ("LOCAL", "NFS")
    shared_storage: bool = False  # with all others that say so
    store: Path | None = None  # None = guests are forgotten with the driver
    faults: FaultPlan = field(default_factory=FaultPlan)


class FakeDriver(MovingGuests, GuestStates, FakePlugging, FakeConsoles):
    def __init__(self, host: str, settings: FakeSettings | None = None) -> None:
        self.host = host
        self.settings = settings or FakeSettings()
        self.faults = self.settings.faults
        self._booted_at = datetime.now(UTC)
        self._store_key, self._store = SHARED.open(self.settings.store)
        self._records = self._store.load(host)
        self._asides = self._store.load_asides(host)
        self._guard = threading.Lock()
        s = self.settings
        self._topology = cells.divided(
            equal_cells(s.numa_cells, s.vcpus, s.threads_per_core, s.memory_mb, s.huge_pages, s.sockets),
            s.cpu_sets,
            cpu_ratio=s.cpu_allocation_ratio,
            memory_ratio=s.memory_allocation_ratio,
        )
        self._shared = len(cells.shared_cpus(self._topology))
        self._used = [
            sum(r.shared_vcpus for r in self._records.values()),
            sum(r.memory_mb for r in self._records.values()),
            sum(r.disk_gb for r in self._records.values()),
        ]
        self._turns = Turns()
        self._live: dict[str, Any] = {}
        self._closed = threading.Event()
        self._callbacks: list[EventCallback] = []

    # -- the door ---------------------------------------------------------------------------------------

    def spawn(
        self,
        spec: GuestSpec,
        progress: Progress = quiet,
        cancelled: Cancelled = never,
    ) -> GuestState:
        names = (spec.server_id, spec.name, spec.display_name)

        with self._turns.take(spec.server_id) as revoked:

            def stopped() -> bool:
                return revoked() or cancelled()

            self._visit("spawn", "begin", names, stopped)
            record = self._records.get(spec.server_id)
            if record is None:
                record = self._claim(spec)
            elif record.power_state is not PowerState.RUNNING and record.given != (spec.numa, spec.devices):
                self._redefine(record, spec)
            if record.power_state is PowerState.RUNNING:
                return self._state(record, spec)
            self._plug_all(record, spec)
            for percent, stage in (
                (10, "image"),
                (40, "disks"),
                (60, "network"),
                (80, "define"),
                (90, "start"),
            ):
                self._visit("spawn", stage, names, stopped)
                progress(percent, stage)
            self._boot(record)
            progress(100, "running")
            return self._state(record, spec)

    def destroy(self, server_id: str) -> None:
        with self._turns.take(server_id, revoking=True) as revoked:
            self._visit("destroy", "begin", self._names(server_id), revoked)
            self._forget(server_id)

    def power_on(self, server_id: str, spec: GuestSpec | None = None) -> GuestState:
        with self._turns.take(server_id) as revoked:
            self._visit("power_on", "begin", self._names(server_id), revoked)
            record = self._record(server_id)
            if spec is not None:
                self._redefine(record, spec)
            if record.power_state is not PowerState.RUNNING:
                self._end_rescue(record)
                self._boot(record)
            return self._state(record)

    def power_off(self, server_id: str, timeout: float = 60.0, graceful: bool = True) -> GuestState:
        with self._turns.take(server_id) as revoked:
            names = self._names(server_id)
            self._visit("power_off", "begin", names, revoked)
            record = self._record(server_id)
            if graceful and timeout > 0 and record.power_state is PowerState.RUNNING:
                verdict = self.faults.at(self.host, "power_off", "guest", *names)
                # a guest that does not listen, or listens slowly, is switched off when the time is over
                self._wait(timeout if verdict.deaf else min(verdict.delay, timeout), revoked)
            self._change(record, PowerState.SHUTDOWN, GuestEventKind.STOPPED)
            return self._state(record)

    def reboot(
        self, server_id: str, hard: bool, timeout: float = 60.0, spec: GuestSpec | None = None
    ) -> GuestState:
        with self._turns.take(server_id) as revoked:
            names = self._names(server_id)
            self._visit("reboot", "begin", names, revoked)
            record = self._record(server_id)
            if not hard:
                if record.power_state is not PowerState.RUNNING:
                    raise errors.GuestInWrongState(f"guest {server_id} does not run, it cannot reboot itself")
                verdict = self.faults.at(self.host, "reboot", "guest", *names)
                self._wait(timeout if verdict.deaf else min(verdict.delay, timeout), revoked)
                if verdict.deaf or verdict.delay > timeout:
                    raise errors.GuestUnresponsive(f"guest {server_id} did not reboot within {timeout:g} s")
            else:
                self._end_rescue(record)
                if spec is not None:
                    self._redefine(record, spec)
            self._boot(record)
            return self._state(record)

    def console_output(self, server_id: str, max_bytes: int = 102400) -> bytes:
        self._visit("console_output", "begin", self._names(server_id), never)
        text = render(self._record(server_id))
        return text[-max_bytes:] if max_bytes > 0 else b""

    def guests(self) -> list[GuestState]:
        self._visit("guests", "begin", (), never)
        with self._guard:
            return [self._state(record) for record in self._records.values() if not record.passing]

    def guest(self, server_id: str) -> GuestState:
        return self._state(self._record(server_id))

    def prefetch_image(self, image: ImageSource, cancelled: Cancelled = never) -> bool:
        """No bytes are fetched: that the image is here is written down."""
        if self._store.has_image(self.host, image.id):
            return True
        self._visit("prefetch", "image", (image.id,), cancelled)
        self._store.put_image(self.host, image.id)
        return False

    def snapshot(self, server_id: str, snapshot_id: str, cancelled: Cancelled = never) -> None:
        """The copy has no more in it than whose it is."""
        with self._turns.take(server_id) as revoked:
            self._visit("snapshot", "begin", self._names(server_id), lambda: revoked() or cancelled())
            record = self._record(server_id)
            content = f"{record.name} {server_id}, started {record.boots} times".encode().ljust(512, b"\0")
            self._store.put_snapshot(self.host, server_id, snapshot_id, content)

    def open_snapshot(self, server_id: str, snapshot_id: str) -> SnapshotFile:
        self._visit("open_snapshot", "begin", self._names(server_id), never)
        content = self._store.snapshot(self.host, server_id, snapshot_id)
        if content is None:
            raise errors.SnapshotNotFound(f"no copy {snapshot_id} of guest {server_id} on {self.host}")
        return SnapshotFile(io.BytesIO(content), "raw", len(content))

    def drop_snapshot(self, server_id: str, snapshot_id: str) -> None:
        self._visit("drop_snapshot", "begin", self._names(server_id), never)
        self._store.drop_snapshot(self.host, server_id, snapshot_id)

    def inventory(self) -> HostInventory:
        self._visit("inventory", "begin", (), never)
        s = self.settings
        threads = {cells.HYPERTHREADING} if cells.has_threads(self._topology) else frozenset()
        return HostInventory(
            hostname=self.host,
            hypervisor_type="fake",
            hypervisor_version=1_000_000,
            vcpus=self._shared,
            dedicated_cpus=len(cells.dedicated_cpus(self._topology)),
            vgpus=s.vgpus,
            memory_mb=s.memory_mb,
            disk_gb=s.disk_gb,
            reserved_memory_mb=s.reserved_memory_mb,
            cpu_allocation_ratio=s.cpu_allocation_ratio,
            memory_allocation_ratio=s.memory_allocation_ratio,
            disk_allocation_ratio=s.disk_allocation_ratio,
            free_disk_gb=max(0, s.disk_gb - self._used[2]),
            host_ip="127.0.0.1",
            cpu_info={"arch": "x86_64", "model": "fake", "vendor": "Protonova", "features": ["avx2"]},
            traits=s.traits | threads,
            supported_instances=tuple(
                ("x86_64", hypervisor, "hvm") for hypervisor in ("fake", "kvm", "qemu")
            ),
            booted_at=self._booted_at,
            share_protocols=s.share_protocols,
        )

    def metrics(self) -> Mapping[str, float]:
        return self.settings.metrics

    def topology(self) -> HostTopology:
        return self._topology

    def topologies(self) -> Mapping[str, GuestTopology]:
        with self._guard:
            return {
                **{
                    record.server_id: record.topology
                    for record in self._records.values()
                    if record.topology is not None
                },
                **{
                    f"{server_id}/{label}": record.topology
                    for (server_id, label), record in self._asides.items()
                    if record.topology is not None
                },
            }

    def pci_devices(self) -> Sequence[Device]:
        return self.settings.pci_devices

    def devices_held(self) -> Mapping[str, Sequence[PciDevice]]:
        with self._guard:
            return {
                **{record.server_id: record.devices for record in self._records.values() if record.devices},
                **{
                    f"{server_id}/{label}": record.devices
                    for (server_id, label), record in self._asides.items()
                    if record.devices
                },
            }

    def events(self, callback: EventCallback) -> Callable[[], None]:
        with self._guard:
            self._callbacks.append(callback)

        def end() -> None:
            with self._guard:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)

        return end

    def close(self) -> None:
        if not self._closed.is_set():
            self._closed.set()
            self._callbacks.clear()
            SHARED.release(self._store_key, self._store)

    # -- what happens by itself to real guests -------------------------------------------------------------

    def shut_down_inside(self, server_id: str) -> None:
        """The guest's user switches it off."""
        self._change(self._record(server_id), PowerState.SHUTDOWN, GuestEventKind.STOPPED)

    def crash(self, server_id: str) -> None:
        self._change(self._record(server_id), PowerState.CRASHED, GuestEventKind.CRASHED)

    def lose(self, server_id: str) -> None:
        """Somebody removes the guest behind the agent's back."""
        self._record(server_id)
        self._forget(server_id)

    def power_failure(self) -> None:
        """The host goes down and comes up again: no guest runs, and nobody was told."""
        for record in list(self._records.values()):
            record.power_state = PowerState.SHUTDOWN
            self._store.save(self.host, record)
        self._emit(GuestEvent(GuestEventKind.RESYNC, ""))

    # -- inside ---------------------------------------------------------------------------------------------

    def _visit(self, call: str, stage: str, names: tuple[str, ...], stopped: Revoked) -> None:
        if self._closed.is_set():
            raise errors.HypervisorUnavailable(f"the driver of {self.host} is closed")
        verdict = self.faults.at(self.host, call, stage, *names)
        if call in ("spawn", "rescue", "rebuild") and stopped():
            raise errors.Cancelled(f"{call} was taken back at {stage}")
        if verdict.delay:
            self._wait(verdict.delay, stopped)
        if verdict.error is not None:
            raise verdict.error

    def _wait(self, seconds: float, stopped: Revoked) -> None:
        """Let time pass, but not after the call was taken back or the driver closed."""
        while seconds > 0:
            piece = min(seconds, 0.05)
            if self._closed.wait(piece):
                raise errors.HypervisorUnavailable(f"the driver of {self.host} was closed")
            if stopped():
                raise errors.Cancelled("taken back")
            seconds -= piece

    def _names(self, server_id: str) -> tuple[str, ...]:
        record = self._records.get(server_id)
        return (server_id, record.name, record.hostname) if record else (server_id,)

    def _record(self, server_id: str) -> Record:
        record = self._records.get(server_id)
        if record is None or record.passing:
            raise errors.GuestNotFound(f"no guest {server_id} on {self.host}", server_id=server_id)
        return record

    def _claim(self, spec: GuestSpec) -> Record:
        """Write the guest down, switched off, if it fits beside the others."""
        record = described(spec)
        with self._guard:
            self._make_room(record)
            self._records[record.server_id] = record
        self._store.save(self.host, record)
        return record

    def _make_room(self, record: Record) -> None:
        """Counts a guest in, if it fits beside the others."""
        s = self.settings
        wanted = (record.shared_vcpus, record.memory_mb, record.disk_gb)
        limits = (
            int(self._shared * s.cpu_allocation_ratio),
            int((s.memory_mb - s.reserved_memory_mb) * s.memory_allocation_ratio),
            int(s.disk_gb * s.disk_allocation_ratio),
        )
        if s.enforce_capacity:
            for what, used, want, limit in zip(
                ("vcpus", "memory_mb", "disk_gb"), self._used, wanted, limits, strict=True
            ):
                if used + want > limit:
                    raise errors.HostRefuses(
                        f"{self.host} has {limit - used} of {limit} {what} left, the guest wants {want}",
                        resource=what,
                    )
        self._used = [used + want for used, want in zip(self._used, wanted, strict=True)]

    def _redefine(self, record: Record, spec: GuestSpec) -> None:
        with self._guard:
            self._used[0] -= record.shared_vcpus
            self._used[1] += spec.memory_mb - record.memory_mb
            self._used[2] += spec.disk_gb - record.disk_gb
            record.vcpus, record.memory_mb, record.disk_gb = spec.vcpus, spec.memory_mb, spec.disk_gb
            record.topology = spec.numa or record.topology
            record.devices = spec.devices or record.devices
            self._used[0] += record.shared_vcpus
            record.addresses = _addresses(spec)
        self._plug_all(record, spec)

    def _boot(self, record: Record) -> None:
        self._mount(record)
        record.boots += 1
        if record.power_state is PowerState.RUNNING:
            self._store.save(self.host, record)
        else:
            self._change(record, PowerState.RUNNING, GuestEventKind.STARTED)

    def _mount(self, record: Record) -> None:
        """All shares, or the guest does not start, and does not run on."""
        for share_id in record.shares:
            try:
                self._visit("mount_share", "begin", self._names(record.server_id), never)
            except errors.ShareUnavailable as error:
                self._change(record, PowerState.SHUTDOWN, GuestEventKind.STOPPED)
                raise errors.ShareUnavailable(error.message, share_id=share_id) from error

    def _change(self, record: Record, state: PowerState, kind: GuestEventKind) -> None:
        if record.power_state is state:
            return
        record.power_state = state
        self._store.save(self.host, record)
        self._emit(GuestEvent(kind, record.server_id, state))

    def _keep(self, record: Record) -> None:
        self._store.save_facts(self.host, record)

    def _state(self, record: Record, spec: GuestSpec | None = None) -> GuestState:
        """With its root device, where it is told with the spec it was made of."""
        state = GuestState(record.server_id, record.name, record.power_state, record.vcpus, record.memory_mb)
        if spec is None:
            return state
        bus = spec.image.properties.get("hw_disk_bus", "virtio") if spec.image else "virtio"
        return replace(state, root_device=_ROOT_DEVICES.get(bus, "/dev/sda"))

    def _forget(self, server_id: str) -> None:
        with self._guard:
            record = self._records.pop(server_id, None)
            if record is None:
                return
            self._used[0] -= record.shared_vcpus
            self._used[1] -= record.memory_mb
            self._used[2] -= record.disk_gb
        self._store.remove(self.host, server_id)
        self._emit(GuestEvent(GuestEventKind.DELETED, server_id))

    def _emit(self, event: GuestEvent) -> None:
        if self._callbacks:
            COURIER.send(list(self._callbacks), event)


def described(spec: GuestSpec) -> Record:
    """A guest as it is ordered, before it is on any host."""
    return Record(
        spec.server_id,
        spec.name,
        spec.hostname or spec.display_name,
        PowerState.NOSTATE,
        spec.vcpus,
        spec.memory_mb,
        spec.disk_gb,
        addresses=_addresses(spec),
        topology=spec.numa,
        devices=spec.devices,
    )


def _addresses(spec: GuestSpec) -> str:
    return " ".join(f"{nic.mac}={nic.fixed_ips[0].address if nic.fixed_ips else ''}" for nic in spec.nics)
