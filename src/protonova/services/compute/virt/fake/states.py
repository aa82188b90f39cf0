"""What is done to a fake guest that stays where it is: standing still, being saved, another image, a password.

What a guest was made of last is kept in its record's `facts`, so that it survives the agent as disks would.
"""

from __future__ import annotations

from abc import abstractmethod

from protonova.common.v1.diagnostics_pb2 import ServerDiagnostics
from protonova.common.v1.server_pb2 import POWER_STATE_PAUSED, POWER_STATE_RUNNING
from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import (
    Cancelled,
    Driver,
    GuestEventKind,
    GuestSpec,
    GuestState,
    ImageSource,
    PowerState,
    Progress,
    never,
    quiet,
)
from protonova.services.compute.virt.turns import Revoked, Turns

from .store import Record

IMAGE = "image"
RESCUE = "rescue"
_REBUILT_FOR = "rebuilt for"
_PASSWORD = "password"  # noqa: S105 - the name of a fact
_ALIVE = (PowerState.RUNNING, PowerState.PAUSED)
_MB = 1 << 20


class GuestStates(Driver):
    """The part of the fake driver that changes states. The other part keeps the records."""

    _turns: Turns
    _records: dict[str, Record]

    @abstractmethod
    def _visit(self, call: str, stage: str, names: tuple[str, ...], stopped: Revoked) -> None: ...
    @abstractmethod
    def _names(self, server_id: str) -> tuple[str, ...]: ...
    @abstractmethod
    def _record(self, server_id: str) -> Record: ...
    @abstractmethod
    def _claim(self, spec: GuestSpec) -> Record: ...
    @abstractmethod
    def _redefine(self, record: Record, spec: GuestSpec) -> None: ...
    @abstractmethod
    def _boot(self, record: Record) -> None: ...
    @abstractmethod
    def _change(self, record: Record, state: PowerState, kind: GuestEventKind) -> None: ...
    @abstractmethod
    def _keep(self, record: Record) -> None: ...
    @abstractmethod
    def _state(self, record: Record, spec: GuestSpec | None = None) -> GuestState: ...

    def pause(self, server_id: str) -> GuestState:
        with self._turns.take(server_id) as revoked:
            record = self._begun("pause", server_id, revoked, _ALIVE)
            self._change(record, PowerState.PAUSED, GuestEventKind.PAUSED)
            return self._state(record)

    def unpause(self, server_id: str) -> GuestState:
        with self._turns.take(server_id) as revoked:
            record = self._begun("unpause", server_id, revoked, _ALIVE)
            self._change(record, PowerState.RUNNING, GuestEventKind.RESUMED)
            return self._state(record)

    def suspend(self, server_id: str) -> GuestState:
        with self._turns.take(server_id) as revoked:
            record = self._begun("suspend", server_id, revoked, (*_ALIVE, PowerState.SUSPENDED))
            self._change(record, PowerState.SUSPENDED, GuestEventKind.SUSPENDED)
            return self._state(record)

    def resume(self, server_id: str) -> GuestState:
        with self._turns.take(server_id) as revoked:
            record = self._begun("resume", server_id, revoked)
            if record.power_state is PowerState.SUSPENDED:
                self._change(record, PowerState.RUNNING, GuestEventKind.RESUMED)
            elif record.power_state is not PowerState.RUNNING:
                self._boot(record)
            return self._state(record)

    def trigger_crash_dump(self, server_id: str) -> GuestState:
        with self._turns.take(server_id) as revoked:
            return self._state(self._begun("trigger_crash_dump", server_id, revoked, _ALIVE))

    def diagnostics(self, server_id: str) -> ServerDiagnostics:
        record = self._begun("diagnostics", server_id, never, _ALIVE)
        running = record.power_state is PowerState.RUNNING
        found = ServerDiagnostics(
            power_state=POWER_STATE_RUNNING if running else POWER_STATE_PAUSED,
            driver="libvirt",  # the one it stands in for: users know only a few by name
            hypervisor="fake",
            hypervisor_os="fake",
            uptime=record.boots,
            memory_maximum_mb=record.memory_mb,
            memory_used_mb=record.memory_mb // 2,
            native={"memory": record.memory_mb * 1024},
        )
        for cpu in range(record.vcpus):
            found.cpus.add(id=cpu, time=1_000_000_000, utilisation=1)
            found.native[f"cpu{cpu}_time"] = 1_000_000_000
        found.disks.add(read_bytes=_MB, read_requests=16, write_bytes=_MB, write_requests=16, errors_count=0)
        for number, pair in enumerate(filter(None, record.addresses.split(" "))):
            found.nics.add(mac_address=pair.partition("=")[0], rx_octets=_MB, tx_octets=_MB)
            found.native[f"eth{number}_rx"] = found.native[f"eth{number}_tx"] = _MB
        return found

    def set_password(self, server_id: str, password: str, user: str = "") -> GuestState:
        with self._turns.take(server_id) as revoked:
            record = self._begun("set_password", server_id, revoked, (PowerState.RUNNING,))
            record.facts[_PASSWORD] = password
            self._keep(record)
            return self._state(record)

    def rescue(
        self, spec: GuestSpec, image: ImageSource, progress: Progress = quiet, cancelled: Cancelled = never
    ) -> GuestState:
        names = self._names(spec.server_id)
        with self._turns.take(spec.server_id) as revoked:

            def stopped() -> bool:
                return revoked() or cancelled()

            record = self._begun("rescue", spec.server_id, stopped)
            if record.facts.get(RESCUE) == image.id and record.power_state is PowerState.RUNNING:
                return self._state(record)
            for percent, stage in ((10, "image"), (60, "disks"), (80, "define"), (90, "start")):
                self._visit("rescue", stage, names, stopped)
                progress(percent, stage)
            record.facts[RESCUE] = image.id
            self._keep(record)
            self._boot(record)
            return self._state(record)

    def unrescue(self, server_id: str, *, start: bool = True) -> GuestState:
        with self._turns.take(server_id) as revoked:
            record = self._begun("unrescue", server_id, revoked)
            rescued = record.facts.pop(RESCUE, None) is not None
            self._keep(record)
            if start and (rescued or record.power_state is not PowerState.RUNNING):
                self._boot(record)
            elif rescued:
                self._change(record, PowerState.SHUTDOWN, GuestEventKind.STOPPED)
            return self._state(record)

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
        names = self._names(spec.server_id)
        with self._turns.take(spec.server_id) as revoked:

            def stopped() -> bool:
                return revoked() or cancelled()

            self._visit("rebuild", "begin", names, stopped)
            # One that was lost is made again.
            record = self._records.get(spec.server_id) or self._claim(spec)
            if record.facts.get(_REBUILT_FOR) != token:
                for percent, stage in ((10, "image"), (40, "disks"), (80, "define")):
                    self._visit("rebuild", stage, names, stopped)
                    progress(percent, stage)
                self._redefine(record, spec)
                record.boots = 0
                record.facts.pop(RESCUE, None)
                record.facts[_REBUILT_FOR] = token
                record.facts[IMAGE] = spec.image.id if spec.image else ""
                self._change(record, PowerState.SHUTDOWN, GuestEventKind.STOPPED)
                self._keep(record)
            self._visit("rebuild", "start", names, stopped)
            if start and record.power_state is not PowerState.RUNNING:
                self._boot(record)
            progress(100, "running" if start else "made")
            return self._state(record, spec)

    def _end_rescue(self, record: Record) -> None:
        """Any start that is no rescue ends one."""
        if record.facts.pop(RESCUE, None) is not None:
            self._keep(record)

    def _begun(
        self, call: str, server_id: str, stopped: Revoked, states: tuple[PowerState, ...] = ()
    ) -> Record:
        """The guest a call is about, in one of the states it may be in (any, if none are named)."""
        self._visit(call, "begin", self._names(server_id), stopped)
        record = self._record(server_id)
        if states and record.power_state not in states:
            raise errors.GuestInWrongState(
                f"guest {server_id} is {record.power_state.name.lower()}",
                state=record.power_state.name.lower(),
            )
        return record
