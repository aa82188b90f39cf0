"""A hypervisor that exists in memory only, for tests, simulations and clouds without hardware.

It keeps every promise of the driver door (idempotence, events, restart of the agent) and costs next to
nothing: thousands of guests, and hundreds of hosts in one process. A fault plan decides what fails and how
long things take. The methods that no other driver has (`shut_down_inside`, `crash`, `lose`,
`power_failure`) do from outside what happens to real guests by themselves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import (
    Cancelled,
    Driver,
    EventCallback,
    GuestEvent,
    GuestEventKind,
    GuestSpec,
    GuestState,
    HostInventory,
    PowerState,
    Progress,
    never,
    quiet,
)
from protonova.services.compute.virt.turns import Revoked, Turns

from .console import render
from .courier import COURIER
from .faults import FaultPlan
from .store import SHARED, Record

TRAITS = frozenset(
    {
        "COMPUTE_IMAGE_TYPE_ISO",
        "COMPUTE_IMAGE_TYPE_QCOW2",
        "COMPUTE_IMAGE_TYPE_RAW",
        "COMPUTE_NET_VIF_MODEL_VIRTIO",
        "COMPUTE_NODE",
        "COMPUTE_STORAGE_BUS_VIRTIO",
        "HW_CPU_X86_AVX2",
    }
)

_ROOT_DEVICES = {"virtio": "/dev/vda", "ide": "/dev/hda"}


@dataclass(frozen=True)
class FakeSettings:
    vcpus: int = 64
    memory_mb: int = 262144
    disk_gb: int = 4096
    reserved_memory_mb: int = 512
    cpu_allocation_ratio: float = 4.0
    memory_allocation_ratio: float = 1.0
    disk_allocation_ratio: float = 1.0
    enforce_capacity: bool = True
    traits: frozenset[str] = TRAITS
    store: Path | None = None  # None = guests are forgotten with the driver
    faults: FaultPlan = field(default_factory=FaultPlan)


class FakeDriver(Driver):
    def __init__(self, host: str, settings: FakeSettings | None = None) -> None:
        self.host = host
        self.settings = settings or FakeSettings()
        self.faults = self.settings.faults
        self._store_key, self._store = SHARED.open(self.settings.store)
        self._records = self._store.load(host)
        self._guard = threading.Lock()
        self._used = [
            sum(r.vcpus for r in self._records.values()),
            sum(r.memory_mb for r in self._records.values()),
            sum(r.disk_gb for r in self._records.values()),
        ]
        self._turns = Turns()
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
            if record.power_state is PowerState.RUNNING:
                return _made(record, spec)
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
            return _made(record, spec)

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
                self._boot(record)
            return _state(record)

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
            return _state(record)

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
            elif spec is not None:
                self._redefine(record, spec)
            self._boot(record)
            return _state(record)

    def console_output(self, server_id: str, max_bytes: int = 102400) -> bytes:
        self._visit("console_output", "begin", self._names(server_id), never)
        text = render(self._record(server_id))
        return text[-max_bytes:] if max_bytes > 0 else b""

    def guests(self) -> list[GuestState]:
        self._visit("guests", "begin", (), never)
        with self._guard:
            return [_state(record) for record in self._records.values()]

    def guest(self, server_id: str) -> GuestState:
        return _state(self._record(server_id))

    def inventory(self) -> HostInventory:
        self._visit("inventory", "begin", (), never)
        s = self.settings
        return HostInventory(
            hostname=self.host,
            hypervisor_type="fake",
            hypervisor_version=1_000_000,
            vcpus=s.vcpus,
            memory_mb=s.memory_mb,
            disk_gb=s.disk_gb,
            reserved_memory_mb=s.reserved_memory_mb,
            cpu_allocation_ratio=s.cpu_allocation_ratio,
            memory_allocation_ratio=s.memory_allocation_ratio,
            disk_allocation_ratio=s.disk_allocation_ratio,
            free_disk_gb=max(0, s.disk_gb - self._used[2]),
            host_ip="127.0.0.1",
            cpu_info={"arch": "x86_64", "model": "fake", "vendor": "Protonova", "features": ["avx2"]},
            traits=s.traits,
            supported_instances=(("x86_64", "fake", "hvm"),),
        )

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
        if call == "spawn" and stopped():
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
        if record is None:
            raise errors.GuestNotFound(f"no guest {server_id} on {self.host}", server_id=server_id)
        return record

    def _claim(self, spec: GuestSpec) -> Record:
        """Write the guest down, switched off, if it fits beside the others."""
        s = self.settings
        record = Record(
            spec.server_id,
            spec.name,
            spec.hostname or spec.display_name,
            PowerState.NOSTATE,
            spec.vcpus,
            spec.memory_mb,
            spec.disk_gb,
            addresses=_addresses(spec),
        )
        wanted = (record.vcpus, record.memory_mb, record.disk_gb)
        limits = (
            int(s.vcpus * s.cpu_allocation_ratio),
            int((s.memory_mb - s.reserved_memory_mb) * s.memory_allocation_ratio),
            int(s.disk_gb * s.disk_allocation_ratio),
        )
        with self._guard:
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
            self._records[record.server_id] = record
        self._store.save(self.host, record)
        return record

    def _redefine(self, record: Record, spec: GuestSpec) -> None:
        with self._guard:
            self._used[0] += spec.vcpus - record.vcpus
            self._used[1] += spec.memory_mb - record.memory_mb
            self._used[2] += spec.disk_gb - record.disk_gb
            record.vcpus, record.memory_mb, record.disk_gb = spec.vcpus, spec.memory_mb, spec.disk_gb
            record.addresses = _addresses(spec)

    def _boot(self, record: Record) -> None:
        record.boots += 1
        if record.power_state is PowerState.RUNNING:
            self._store.save(self.host, record)
        else:
            self._change(record, PowerState.RUNNING, GuestEventKind.STARTED)

    def _change(self, record: Record, state: PowerState, kind: GuestEventKind) -> None:
        if record.power_state is state:
            return
        record.power_state = state
        self._store.save(self.host, record)
        self._emit(GuestEvent(kind, record.server_id, state))

    def _forget(self, server_id: str) -> None:
        with self._guard:
            record = self._records.pop(server_id, None)
            if record is None:
                return
            self._used[0] -= record.vcpus
            self._used[1] -= record.memory_mb
            self._used[2] -= record.disk_gb
        self._store.remove(self.host, server_id)
        self._emit(GuestEvent(GuestEventKind.DELETED, server_id))

    def _emit(self, event: GuestEvent) -> None:
        if self._callbacks:
            COURIER.send(list(self._callbacks), event)


def _state(record: Record) -> GuestState:
    return GuestState(record.server_id, record.name, record.power_state, record.vcpus, record.memory_mb)


def _made(record: Record, spec: GuestSpec) -> GuestState:
    bus = spec.image.properties.get("hw_disk_bus", "virtio") if spec.image else "virtio"
    return replace(_state(record), root_device=_ROOT_DEVICES.get(bus, "/dev/sda"))


def _addresses(spec: GuestSpec) -> str:
    return " ".join(f"{nic.mac}={nic.fixed_ips[0].address if nic.fixed_ips else ''}" for nic in spec.nics)
