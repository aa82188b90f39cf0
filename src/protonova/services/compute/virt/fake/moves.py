"""Fake guests that go from host to host, within the process or over agents.

What goes with a guest is how often it was booted: by that a test tells a disk that came along from a new one. A
live migration takes as long as the fault plan says (call `live_migrate`, stage `copy`, visited ten times), tells
how far it is, and can be aborted and forced.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import (
    Cancelled,
    FilePiece,
    FilePieces,
    GuestEvent,
    GuestEventKind,
    GuestSpec,
    GuestState,
    LiveProgress,
    PowerState,
    Progress,
    Storage,
    never,
    quiet,
)

from .store import Record

if TYPE_CHECKING:

    class _Base:
        """Whatever the driver has that this is a part of."""

        _used: list[int]

        def __getattr__(self, name: str) -> Any: ...

else:
    _Base = object

_ROUNDS = 10
_FILE = "disk"
_EVENTS = {
    PowerState.RUNNING: GuestEventKind.STARTED,
    PowerState.PAUSED: GuestEventKind.PAUSED,
}


@dataclass
class _Job:
    """A live migration under way; whoever calls for it again waits for its end."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    progress: LiveProgress = field(default_factory=LiveProgress)
    abort: bool = False
    force: bool = False
    over: bool = False
    error: errors.DriverError | None = None


class MovingGuests(_Base):
    """The part of the fake driver that is about moves."""

    # -- cold ---------------------------------------------------------------------------------------------------

    def check_receive(self, spec: GuestSpec, disks_are_there: bool | None = None) -> None:
        self._visit("check_receive", "begin", _names(spec), never)
        if disks_are_there is not None and disks_are_there != self.settings.shared_storage:
            shares = "shares" if self.settings.shared_storage else "shares no"
            raise errors.HostRefuses(f"{self.host} {shares} storage with others")
        record = self._described(spec)
        with self._guard:
            before = list(self._used)
            self._make_room(record)
            self._used = before

    def set_aside(self, server_id: str, label: str, timeout: float = 60.0) -> None:
        with self._turns.take(server_id) as revoked:
            names = self._names(server_id)
            self._visit("set_aside", "begin", names, revoked)
            record = self._records.get(server_id)
            if record is None or record.passing:
                if (server_id, label) in self._asides:
                    return
                raise errors.GuestNotFound(f"no guest {server_id} on {self.host}", server_id=server_id)
            if timeout > 0 and record.power_state is PowerState.RUNNING:
                verdict = self.faults.at(self.host, "set_aside", "guest", *names)
                self._wait(timeout if verdict.deaf else min(verdict.delay, timeout), revoked)
            record.power_state = PowerState.SHUTDOWN
            with self._guard:
                self._asides[server_id, label] = record
                self._records.pop(server_id)
                self._leave(record)
                self._store.set_aside(self.host, label, record)
            self._emit(GuestEvent(GuestEventKind.DELETED, server_id))
            self._visit("set_aside", "end", names, revoked)

    def take_back(
        self, server_id: str, label: str, spec: GuestSpec | None = None, start: bool = True
    ) -> GuestState:
        with self._turns.take(server_id) as revoked:
            self._visit("take_back", "begin", self._names(server_id), revoked)
            aside = self._asides.get((server_id, label))
            if aside is None:
                record = self._record(server_id)
            elif server_id in self._records:
                raise errors.GuestInWrongState(
                    f"guest {server_id} is on {self.host} beside what was set aside"
                )
            else:
                record = aside
                with self._guard:
                    self._make_room(record)
                    self._records[server_id] = record
                    del self._asides[server_id, label]
                    self._store.bring_back(self.host, label, record)
            if spec is not None:
                self._redefine(record, spec)
                self._store.save(self.host, record)
            if start and record.power_state is not PowerState.RUNNING:
                self._boot(record)
            return self._state(record, spec)

    def discard(self, server_id: str, label: str = "") -> None:
        with self._turns.take(server_id) as revoked:
            self._visit("discard", "begin", self._names(server_id), revoked)
            for known in [key for key in self._asides if key[0] == server_id and label in ("", key[1])]:
                with self._guard:
                    self._asides.pop(known, None)
                self._store.discard(self.host, *known)

    def asides(self) -> list[tuple[str, str]]:
        with self._guard:
            return sorted(self._asides)

    def aside_files(self, server_id: str, label: str) -> Iterator[FilePiece]:
        self._visit("aside_files", "begin", self._names(server_id), never)
        record = self._asides.get((server_id, label))
        if record is None:
            raise errors.GuestNotFound(f"nothing of {server_id} is set aside as {label}", server_id=server_id)
        data = json.dumps({"boots": record.boots, "facts": record.facts}).encode()
        yield FilePiece(_FILE, len(data), 0, data)

    def receive(
        self,
        spec: GuestSpec,
        files: FilePieces,
        start: bool = True,
        progress: Progress = quiet,
        cancelled: Cancelled = never,
    ) -> GuestState:
        with self._turns.take(spec.server_id) as revoked:

            def stopped() -> bool:
                return revoked() or cancelled()

            self._visit("receive", "begin", _names(spec), stopped)
            record = self._records.get(spec.server_id)
            if record is None:
                record = self._claim(spec)
            if record.power_state in (PowerState.RUNNING, PowerState.SHUTDOWN):
                if start and record.power_state is PowerState.SHUTDOWN:
                    self._boot(record)
                return self._state(record, spec)
            progress(10, "disks")
            facts = json.loads(b"".join(piece.data for piece in files() if piece.name == _FILE))
            self._visit("receive", "disks", _names(spec), stopped)
            record.boots, record.facts = int(facts["boots"]), facts["facts"]
            self._store.save_facts(self.host, record)
            progress(90, "start")
            self._visit("receive", "start", _names(spec), stopped)
            if start:
                self._boot(record)
            else:
                self._change(record, PowerState.SHUTDOWN, GuestEventKind.STOPPED)
            return self._state(record, spec)

    # -- live ---------------------------------------------------------------------------------------------------

    def live_facts(self, server_id: str) -> bytes:
        record = self._record(server_id)
        facts = {
            "boots": record.boots,
            "facts": record.facts,
            "power": int(record.power_state),
            "shared": self.settings.shared_storage,
        }
        return json.dumps(facts).encode()

    def live_prepare(
        self, spec: GuestSpec, source_host: str, storage: Storage, facts: bytes, check_only: bool = False
    ) -> bytes:
        self._visit("live_prepare", "check" if check_only else "begin", _names(spec), never)
        known = json.loads(facts)
        shared = bool(known["shared"] and self.settings.shared_storage)
        has_disks = spec.image is not None or spec.disk_gb > spec.root_gb
        if has_disks and storage is Storage.SHARED and not shared:
            raise errors.MigrationImpossible(f"{self.host} shares no storage with {source_host}")
        if has_disks and storage is Storage.COPIED and shared:
            raise errors.MigrationImpossible(f"{self.host} shares the guest's storage with {source_host}")
        with self._turns.take(spec.server_id):
            there = self._records.get(spec.server_id)
            if there is None:
                record = self._described(spec)
                record.boots, record.facts = int(known["boots"]), known["facts"]
                record.power_state = PowerState(known["power"])
                record.passing = True
                with self._guard:
                    before = list(self._used)
                    self._make_room(record)
                    if check_only:
                        self._used = before
                    else:
                        self._records[spec.server_id] = record
                if not check_only:
                    self._store.save(self.host, record)
                    self._store.save_facts(self.host, record)
        return json.dumps({"shared": shared}).encode()

    def live_migrate(
        self, spec: GuestSpec, destination_host: str, ticket: bytes, told: Callable[[LiveProgress], None]
    ) -> None:
        with self._guard:
            job = self._live.get(spec.server_id)
            first = job is None
            if job is None:
                job = self._live[spec.server_id] = _Job()
        if not first:
            _join(job, told)
            return
        try:
            self._migrate(spec, job, told)
        except errors.DriverError as error:
            job.error = error
            raise
        finally:
            with self._guard:
                del self._live[spec.server_id]
            with job.changed:
                job.over = True
                job.changed.notify_all()

    def live_abort(self, server_id: str) -> None:
        self._steer(server_id, abort=True)

    def live_force(self, server_id: str) -> None:
        self._steer(server_id, force=True)

    def live_finish(self, spec: GuestSpec) -> GuestState:
        with self._turns.take(spec.server_id) as revoked:
            self._visit("live_finish", "begin", _names(spec), revoked)
            record = self._records.get(spec.server_id)
            if record is None:
                raise errors.GuestNotFound(
                    f"no guest {spec.server_id} has come to {self.host}", server_id=spec.server_id
                )
            if record.passing:
                record.passing = False
                self._store.save(self.host, record)
                kind = _EVENTS.get(record.power_state, GuestEventKind.STOPPED)
                self._emit(GuestEvent(kind, record.server_id, record.power_state))
            return self._state(record, spec)

    # -- inside -------------------------------------------------------------------------------------------------

    def _migrate(self, spec: GuestSpec, job: _Job, told: Callable[[LiveProgress], None]) -> None:
        server_id = spec.server_id
        with self._turns.take(server_id) as revoked:
            names = self._names(server_id)

            def stopped() -> bool:
                return revoked() or job.abort

            record = self._records.get(server_id)
            if record is not None and record.passing:
                return  # it has gone already
            record = self._record(server_id)
            total = record.memory_mb << 20
            for number in range(_ROUNDS):
                done = total * number // _ROUNDS
                job.progress = LiveProgress(total, done, total - done)
                told(job.progress)
                if job.abort or revoked():
                    raise errors.MigrationAborted(f"the migration of {server_id} was aborted")
                if job.force:
                    break
                try:
                    self._visit("live_migrate", "copy", names, lambda: stopped() or job.force)
                except errors.Cancelled:
                    continue
            job.progress = LiveProgress(total, total, 0)
            told(job.progress)
            record.passing = True
            self._store.save(self.host, record)
            self._visit("live_migrate", "end", names, revoked)

    def _steer(self, server_id: str, *, abort: bool = False, force: bool = False) -> None:
        with self._guard:
            job = self._live.get(server_id)
        if job is not None:
            job.abort, job.force = job.abort or abort, job.force or force

    def _leave(self, record: Record) -> None:
        self._used[0] -= record.shared_vcpus
        self._used[1] -= record.memory_mb
        self._used[2] -= record.disk_gb

    def _described(self, spec: GuestSpec) -> Record:
        from .driver import described

        return described(spec)


def _join(job: _Job, told: Callable[[LiveProgress], None]) -> None:
    with job.changed:
        while not job.over:
            told(job.progress)
            job.changed.wait(0.1)
    if job.error is not None:
        raise job.error


def _names(spec: GuestSpec) -> tuple[Any, ...]:
    return (spec.server_id, spec.name, spec.display_name)
