"""The engine's face: creating operations, handing them to workers, taking over, giving back.

Every replica of a service has one. An operation belongs to the replica whose lease it is under; in this
process it is a `Run` in `_held` until it ends, is lost, or is handed back.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
import types
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy.engine import Connection

from protonova.services.runtime import context, errors, telemetry
from protonova.services.runtime.database import Database, DatabaseUnavailable
from protonova.services.runtime.operations.driver import Driver
from protonova.services.runtime.operations.keeper import Keeper
from protonova.services.runtime.operations.records import Event, Operation, Records
from protonova.services.runtime.operations.run import Run
from protonova.services.runtime.operations.step import Kind, LeaseLostError
from protonova.services.runtime.operations.store import Store
from protonova.services.runtime.operations.tables import (
    DO,
    FAILED,
    PENDING,
    RUNNING,
    STUCK,
    UNDOING,
    OperationTables,
)
from protonova.services.runtime.operations.workers import Clock, Workers

_log = logging.getLogger("protonova.operations")

# An operation created in a transaction that never committed is forgotten after this many seconds.
_BORN_SECONDS = 60.0
_ODD_PAUSE = 5.0


class Engine:
    """`owner` names the replica for people; `host` is shown in events."""

    def __init__(
        self,
        db: Database,
        tables: OperationTables,
        kinds: Iterable[Kind],
        *,
        owner: str = "",
        workers: int = 64,
        lease_seconds: float = 10.0,
        poll_seconds: float = 1.0,
        host: str = "",
    ) -> None:
        self.db = db
        self.kinds = {kind.name: kind for kind in kinds}
        for kind in self.kinds.values():
            kind.engine = self
        self.host = host or owner
        # Nobody may ever have had the same name: a name is what a lease is held under.
        self.owner = f"{owner or 'replica'}#{secrets.token_hex(6)}"
        self.lease_seconds = lease_seconds
        self.store = Store(tables, self.owner, self.kinds, lease_seconds)
        self._records = Records(db, tables)
        self._driver = Driver(db, self.store, self)
        self._workers = Workers(workers)
        self._clock = Clock()
        self._keeper = Keeper(self, poll_seconds)
        self._changed = threading.Condition()
        self._held: dict[str, Run] = {}
        # Counted so that those who wait for an operation look again.
        self._commits = 0
        self._born: dict[str, tuple[float, Any]] = {}
        self._stop_at: float | None = None
        self._stopped = threading.Event()
        self._local = threading.local()

    # ---- for the owner -------------------------------------------------------------------------------------

    def create(
        self,
        connection: Connection,
        kind: str,
        subject: str,
        payload: Mapping[str, Any],
        *,
        action: str = "",
        context: context.RequestContext | None = None,
        deadline_seconds: float | None = None,
        preempt: bool = False,
        delay_seconds: float = 0.0,
        operation_id: str | None = None,
    ) -> str:
        """Writes an operation in the caller's transaction, after the caller has changed the subject's row by
        compare-and-set: that is what puts operations of one subject in a line. Call `run` after the commit.

        `preempt` makes all earlier operations of the subject give way to it.
        """
        definition = self.kinds[kind]
        ctx = _context_of(context)
        operation_id = operation_id or str(uuid.uuid4())
        seconds = definition.deadline_seconds if deadline_seconds is None else deadline_seconds
        seconds += delay_seconds
        busy = self.store.busy(connection, subject)
        if busy and preempt:
            self.store.preempt(connection, subject)
        leased = not busy and not delay_seconds
        values = {
            "id": operation_id,
            "kind": kind,
            "action": action,
            "subject": subject,
            "step": definition.steps[0].name,
            "payload": orjson.loads(orjson.dumps(payload)),
        }
        before = time.monotonic()
        sequence = self.store.insert(
            connection, values, ctx, leased=leased, delay_seconds=delay_seconds, deadline_seconds=seconds
        )
        row = types.SimpleNamespace(
            **values,
            sequence=sequence,
            context=ctx.to_dict(),
            state=PENDING,
            direction=DO,
            round=0,
            attempt=1,
            generation=1,
            memory={},
            error=None,
            preempted=False,
            now_at=0,
            deadline_at=int(seconds * 1e6),
            leased=leased,
            preempts=busy and preempt,
        )
        with self._changed:
            self._born[operation_id] = (before, row)
        created = getattr(self._local, "created", None)
        if created is not None:
            created.append(operation_id)
        return operation_id

    def run(self, operation_id: str) -> None:
        """Hands an operation, whose creation is committed, to a worker of this process at once."""
        with self._changed:
            before, row = self._born.pop(operation_id, (0.0, None))
            if operation_id in self._held:
                return
            earlier = [] if row is None else [run for run in self._held.values() if _is_earlier(run, row)]
        if row is not None and row.leased:
            self._begin(row, before)
            return
        if row is not None and row.preempts:
            for run in earlier:
                self.preempt(run)
        self._workers.submit(lambda: self._line_up(operation_id))

    def start(self) -> None:
        """Begins to look after leases and orphans."""
        telemetry.report("operations", self.describe)
        self._keeper.start()

    def stop(self, grace: float = 0.0) -> None:
        """Lets what ends within `grace` seconds end, and gives the rest back to the other replicas."""
        with self._changed:
            self._stop_at = time.monotonic() + grace
            self._changed.wait_for(lambda: all(run.waiting for run in self._held.values()), timeout=grace)
            for run in self._held.values():
                run.lost = True
            self._held.clear()
        self._stopped.set()
        self._keeper.stop()
        self._clock.stop()
        self._workers.stop()
        try:
            self.db.write(self.store.release_all, retries=0)
        except errors.Unavailable:
            _log.warning("Leases could not be given back: they end in %.0f s", self.lease_seconds)
        telemetry.forget_report("operations")

    # ---- for operators -------------------------------------------------------------------------------------

    def list(
        self, states: Sequence[str] = (), subject: str = "", limit: int = 100, before: int = 0
    ) -> list[Operation]:
        """Newest first; `before` = the sequence of the last one of the page before."""
        return self._records.list(states, subject, limit, before)

    def get(self, operation_id: str) -> Operation:
        """Raises OPERATION_NOT_FOUND."""
        return self._records.get(operation_id)

    def events(self, operation_id: str) -> Sequence[Event]:
        """The committed steps of an operation that have a name users see, and those that failed."""
        return self._records.events(operation_id)

    def retry(self, operation_id: str) -> Operation:
        """Tries a stuck operation again from where it stands. Raises OPERATION_NOT_FOUND,
        OPERATION_NOT_STUCK."""

        def change(connection: Connection) -> None:
            row = self._stuck(connection, operation_id)
            state = RUNNING if row.direction == DO else UNDOING
            self._records.unpark(connection, row, state=state, owner="", lease_until=0)

        self.db.write(change)
        self.take(operation_id)
        return self.get(operation_id)

    def give_up(self, operation_id: str) -> Operation:
        """Ends a stuck operation as failed, with nothing more undone. Raises as `retry`."""

        def change(connection: Connection) -> None:
            row = self._stuck(connection, operation_id)
            self._records.unpark(connection, row, state=FAILED, finished_at=self.db.now())
            definition = self.kinds.get(row.kind)
            if definition is not None:
                loaded = self.store.load(connection, operation_id)
                run = Run(definition, loaded, self.db, 0.0)
                definition.failed(run, run.error or errors.Internal("Given up."), connection)
            follower = self._follower(connection, row.subject)
            if follower is not None:
                followers.append(follower)

        followers: list[Any] = []
        before = time.monotonic()
        self.db.write(change)
        for follower in followers[-1:]:
            self._begin(follower, before)
        return self.get(operation_id)

    def wait(self, operation_id: str, timeout: float, past: str = "") -> Operation:
        """Until an operation has ended or is stuck, or the time is over; as it is then. With `past`, until that
        step is done, if it comes so far."""
        ends = time.monotonic() + timeout
        while True:
            with self._changed:
                commits = self._commits
            found = self.get(operation_id)
            left = ends - time.monotonic()
            is_past = bool(past) and found.direction == DO and found.step != past
            if found.finished_at or found.state == STUCK or is_past or left <= 0:
                return found
            # Another replica's commits are not heard of here.
            with self._changed:
                self._changed.wait_for(lambda seen=commits: self._commits != seen, timeout=min(left, 0.05))  # type: ignore[misc]

    def describe(self) -> str:
        """For the state report."""
        lines = [f"{self.owner}: {len(self._held)} held, {self._workers.describe()}"]
        lines += [f"   {run!r}, try {run.tries + 1}" for run in self.held()]
        return "\n".join(lines)

    def _stuck(self, connection: Connection, operation_id: str) -> Any:
        row = self._records.row(connection, operation_id)
        if row.state != STUCK:
            raise errors.FailedPrecondition(
                f"The operation {operation_id} is {row.state}, not stuck.",
                reason="OPERATION_NOT_STUCK",
                operation_id=operation_id,
                state=row.state,
            )
        return row

    # ---- for the driver and the keeper
    # -----------------------------------------------------------------------

    def handing_back(self) -> bool:
        return self._stop_at is not None and time.monotonic() >= self._stop_at

    def pause(self, seconds: float) -> None:
        self._stopped.wait(seconds)

    def commit(self, run: Run, fn: Callable[[Connection], None], *, ends: bool = False) -> None:
        """Runs a transaction as long as it takes the database to come back; at an end, the subject's next
        operation is taken on in the same transaction."""
        follower: Any = None
        created: list[str] = []

        def change(connection: Connection) -> None:
            nonlocal follower
            follower = None
            created.clear()
            self._local.created = created
            try:
                fn(connection)
            finally:
                self._local.created = None
            if ends:
                follower = self._follower(connection, run.subject)

        while True:
            before = time.monotonic()
            if run.lost:
                raise LeaseLostError
            try:
                self.db.write(change)
                break
            except DatabaseUnavailable as error:
                if self.handing_back():
                    raise LeaseLostError from None
                _log.warning("%r waits to commit: %s", run, error)
                self.pause(0.2)
        run.lease_until = before + self.lease_seconds
        with self._changed:
            self._commits += 1
            self._changed.notify_all()
        if follower is not None and follower.id != run.id:
            self._begin(follower, before)
        for operation_id in created:
            self.run(operation_id)

    def held(self) -> Sequence[Run]:
        with self._changed:
            return list(self._held.values())

    def lose(self, run: Run) -> None:
        """It is not ours any more; whoever still works on it will notice."""
        run.lost = True
        with self._changed:
            if run.waiting and self._held.get(run.id) is run:
                del self._held[run.id]
                self._changed.notify_all()

    def preempt(self, run: Run) -> None:
        run.preempt()
        with self._changed:
            wakes = run.waiting
            run.waiting = False
        if wakes:
            self._workers.submit(lambda: self._drive(run))

    def take(
        self,
        operation_id: str,
        overrun: errors.Error | None = None,
        overrun_step: str = "",
        *,
        stray: bool = False,
    ) -> None:
        """Takes an operation over, if nobody holds it. With `overrun`, from a worker of our own that hangs in a
        step; a `stray` is leased to this replica, and nobody here works on it."""
        before = time.monotonic()

        def claim(connection: Connection) -> Any:
            row = self.store.load(connection, operation_id)
            if row is None or row.finished_at is not None or row.kind not in self.kinds:
                return None
            # Claimed by another thread of ours since it was found free: that one is about to begin it.
            ours = row.owner == self.owner and row.lease_until >= row.now_at
            if ours and overrun is None and not stray:
                return None
            return self.store.claim(connection, row)

        row = self.db.write(claim)
        if row is None:
            return
        if overrun is None:
            _log.info("Taking over %s %s of %s at %s", row.kind, row.id, row.subject, row.step)
        else:
            self._workers.replace_one()
        self._begin(row, before, overrun, overrun_step)

    # ---- inside --------------------------------------------------------------------------------------------

    def _line_up(self, operation_id: str) -> None:
        """Begins an operation that is the first in its line; otherwise makes what is before it give way,
        where it has to and nobody works on it."""
        before = time.monotonic()

        def claim(connection: Connection) -> list[Any]:
            row = self.store.load(connection, operation_id)
            if row is None or row.finished_at is not None or row.not_before > row.now_at:
                return []
            first = self.store.first(connection, row.subject)
            if first is None or (first.id != operation_id and not first.preempted):
                return []
            claimed = self.store.claim(connection, first) if first.owner != self.owner else None
            return [] if claimed is None else [claimed]

        for row in self.db.write(claim):
            self._begin(row, before)

    def _follower(self, connection: Connection, subject: str) -> Any:
        """The next operation of a subject, claimed, if it waits for nothing but its turn."""
        row = self.store.first(connection, subject)
        if row is None or row.kind not in self.kinds or row.not_before > row.now_at:
            return None
        if (row.state == STUCK and not row.preempted) or row.owner == self.owner:
            return None
        return self.store.claim(connection, row)

    def _begin(
        self, row: Any, before: float, overrun: errors.Error | None = None, overrun_step: str = ""
    ) -> None:
        """`before`: a moment not later than the lease's beginning."""
        run = Run(self.kinds[row.kind], row, self.db, before + self.lease_seconds)
        run.overrun, run.overrun_step = overrun, overrun_step
        with self._changed:
            other = self._held.get(run.id)
            if other is not None:
                if other.generation >= run.generation:
                    return
                other.lost = True
            if self.handing_back():
                return
            self._held[run.id] = run
            telemetry.OPERATIONS_HELD.set(len(self._held))
            self._forget_unborn(before)
        self._workers.submit(lambda: self._drive(run))

    def _drive(self, run: Run) -> None:
        try:
            pause = self._driver.drive(run)
        except Exception:  # noqa: BLE001 - a mistake of the engine's must not lose the operation
            _log.exception("%r cannot be driven", run)
            pause = _ODD_PAUSE
        with self._changed:
            if pause is None or run.lost:
                if self._held.get(run.id) is run:
                    del self._held[run.id]
                    telemetry.OPERATIONS_HELD.set(len(self._held))
                self._changed.notify_all()
                return
            run.waiting = True
            run.turn += 1
            turn = run.turn
            self._changed.notify_all()
        self._clock.after(pause, lambda: self._wake(run, turn))
        if run.preempted():
            self.preempt(run)

    def _wake(self, run: Run, turn: int) -> None:
        with self._changed:
            if not run.waiting or run.turn != turn or run.lost:
                return
            run.waiting = False
        self._workers.submit(lambda: self._drive(run))

    def _forget_unborn(self, moment: float) -> None:
        """Of transactions that never committed."""
        while self._born:
            operation_id, (born_at, _row) = next(iter(self._born.items()))
            if moment - born_at < _BORN_SECONDS:
                return
            del self._born[operation_id]


def _is_earlier(run: Run, row: Any) -> bool:
    return bool(run.subject == row.subject and run.sequence < row.sequence)


def _context_of(given: context.RequestContext | None) -> context.RequestContext:
    return context.current() if given is None else given
