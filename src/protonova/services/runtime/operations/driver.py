"""Carries one operation from commit to commit: does its steps, or undoes them, and ends it.

`drive` returns when the operation has ended, is no longer this replica's, or has to wait; the engine then
calls it again. A step's effect happens between two commits; the commit after it holds the advance, the event
and the change of the owner's rows. Pure steps commit together with the effect before them, and so do the
ends.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from sqlalchemy.engine import Connection

from protonova.services.runtime import context, errors, telemetry
from protonova.services.runtime.database import Database, DatabaseUnavailable
from protonova.services.runtime.operations.run import Run
from protonova.services.runtime.operations.step import LeaseLostError, Outcome, PreemptedError, Step
from protonova.services.runtime.operations.store import Store
from protonova.services.runtime.operations.tables import (
    DO,
    DONE,
    FAILED,
    PREEMPTED,
    RUNNING,
    STUCK,
    UNDO,
    UNDOING,
)

_log = logging.getLogger("protonova.operations")

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_LONGEST_DATABASE_PAUSE = 1.0
_DETAILS = 4096


class Surroundings(Protocol):
    """What the driver asks of the engine."""

    host: str
    lease_seconds: float

    def handing_back(self) -> bool:
        """Whether operations are to be left at their next commit."""

    def commit(self, run: Run, fn: Callable[[Connection], None], *, ends: bool = False) -> None:
        """Runs a transaction; at an end, lets the subject's next operation follow."""

    def pause(self, seconds: float) -> None:
        """Waits; shorter when the engine stops."""


@dataclass
class _Done:
    """A step whose effect has happened and is not committed yet."""

    step: Step
    outcome: Outcome
    elapsed: float


@dataclass
class _Turn:
    """What one pass over the steps came to."""

    position: int
    done: list[_Done] = field(default_factory=list)
    failure: Exception | None = None


class Driver:
    def __init__(self, db: Database, store: Store, engine: Surroundings) -> None:
        self._db = db
        self._store = store
        self._engine = engine

    def drive(self, run: Run) -> float | None:
        """Seconds until the operation is to be driven again; None when it is not this replica's any more."""
        try:
            while True:
                try:
                    pause = self._turn(run)
                except PreemptedError:
                    run.preempt()
                    continue
                if pause is None or pause > 0:
                    return pause
                if self._engine.handing_back():
                    self._db.write(lambda connection: self._store.release(connection, run))
                    return None
        except LeaseLostError:
            _log.info("%r was taken over", run)
            run.lost = True
            return None

    def _turn(self, run: Run) -> float | None:
        self._keep_lease(run)
        if run.preempted():
            return self._give_way(run)
        if run.direction == UNDO:
            return self._undo(run)
        return self._do(run)

    # ---- forward -------------------------------------------------------------------------------------------

    def _do(self, run: Run) -> float | None:
        steps = run.definition.steps
        position = self._position(run)
        if position is None:
            return self._park(run, _unknown_step(run))
        if run.overrun is not None:
            error, run.overrun = run.overrun, None
            return self._turn_back(run, _position_of(run, run.overrun_step, position), error, 0.0)
        turn = self._act_ahead(run, position)
        if turn.done or turn.failure is None:
            failed = self._commit(run, turn)
            if failed is not None:
                last = turn.done[-1].step.name if turn.done else run.committed_step
                turn.failure, turn.position = failed, _position_of(run, last, position)
            elif turn.failure is None:
                return None if turn.position == len(steps) else 0.0
        assert turn.failure is not None
        return self._failed(run, turn.position, turn.failure)

    def _act_ahead(self, run: Run, position: int) -> _Turn:
        """Does steps up to, and not including, the next one that must find everything before it committed."""
        steps = run.definition.steps
        turn = _Turn(position)
        while turn.position < len(steps):
            step = steps[turn.position]
            try:
                if not step.needed(run):
                    turn.position += 1
                    continue
                if turn.done and not step.pure:
                    break
                self._enter(run, step)
                turn.done.append(self._act(run, step, step.do, run.step_deadline))
            except Exception as error:  # noqa: BLE001 - whatever a step raises is judged in one place
                turn.failure = error
                break
            run.memory = _merged(run.memory, turn.done[-1].outcome)
            turn.position += 1
        return turn

    def _enter(self, run: Run, step: Step) -> None:
        """Sets the clock of a step at its first try."""
        now = time.monotonic()
        run.step = step.name
        run.step_deadline = min(run.first_tries.setdefault(step.name, now) + step.timeout, run.deadline)
        if now >= run.deadline:
            raise errors.DeadlineExceeded(
                "The operation took too long.", reason="OPERATION_DEADLINE_EXCEEDED", step=step.name
            )

    def _commit(self, run: Run, turn: _Turn) -> Exception | None:
        """Commits what was done. Returns the error of the owner's own part, which is a failure of the
        step."""
        steps = run.definition.steps
        ends = turn.position == len(steps) and turn.failure is None

        def change(connection: Connection) -> None:
            if ends:
                if not self._store.end(connection, run, DONE):
                    return
            elif not self._store.advance(connection, run, steps[turn.position].name, DO, RUNNING):
                return
            for done in turn.done:
                self._event(connection, run, done)
                if done.outcome.apply is not None:
                    done.outcome.apply(connection)
            if ends:
                run.definition.finished(run, connection)

        try:
            self._engine.commit(run, change, ends=ends)
        except (PreemptedError, LeaseLostError):
            raise
        except Exception as error:  # noqa: BLE001 - from the owner's part of the transaction
            return error
        if ends:
            self._ended(run, DONE)
        else:
            self._moved(run, steps[turn.position].name, DO, RUNNING)
        return None

    def _failed(self, run: Run, position: int, raised: Exception) -> float | None:
        """A step did not succeed: again later, or back."""
        if isinstance(raised, LeaseLostError):
            raise raised
        if run.preempted() or isinstance(raised, PreemptedError):
            raise PreemptedError
        error = errors.typed(raised)
        step = run.definition.steps[position]
        now = time.monotonic()
        if isinstance(raised, DatabaseUnavailable):
            # Our own database being away is nothing the step could help: its time does not run.
            run.first_tries.clear()
            run.tries += 1
            return _pause(run.tries, _LONGEST_DATABASE_PAUSE)
        pause = _pause(run.tries + 1, _LONGEST_PAUSE)
        if error.transient and now + pause < run.step_deadline:
            run.tries += 1
            _log.info("%r: try %d of %s failed: %s", run, run.tries, step.name, error)
            return pause
        if error is not raised:
            _log.error("%r: %s failed unexpectedly", run, step.name, exc_info=raised)
        else:
            _log.warning("%r: %s failed: %s (%s)", run, step.name, error, error.reason)
        return self._turn_back(run, position, error, now - run.first_tries.get(step.name, now))

    def _turn_back(self, run: Run, position: int, error: errors.Error, elapsed: float) -> float | None:
        """From here on the operation is undone, the failed step first."""
        step = run.definition.steps[position]
        target = _undoing_from(run, position)
        run.error = error

        def record(connection: Connection) -> None:
            self._store.event(
                connection,
                run,
                step=step.name,
                event=step.event or "",
                host=self._engine.host,
                elapsed=elapsed,
                result="Error",
                details=error.message[:_DETAILS],
            )

        if target is None:
            return self._end_failed(run, record)

        def change(connection: Connection) -> None:
            if self._store.advance(connection, run, target.name, UNDO, UNDOING, error.to_dict()):
                record(connection)

        self._engine.commit(run, change)
        self._moved(run, target.name, UNDO, UNDOING)
        return 0.0

    # ---- backward ------------------------------------------------------------------------------------------

    def _undo(self, run: Run) -> float | None:
        position = self._position(run)
        if position is None:
            return self._park(run, _unknown_step(run))
        step = run.definition.steps[position]
        now = time.monotonic()
        run.first_tries.setdefault(step.name, now)
        run.step_deadline = now + step.timeout
        try:
            if run.overrun is not None:
                error, run.overrun = run.overrun, None
                raise error
            done = self._act(run, step, step.undo, run.step_deadline)
            run.memory = _merged(run.memory, done.outcome)
            return self._undone(run, position, done)
        except (PreemptedError, LeaseLostError):
            raise
        except Exception as raised:  # noqa: BLE001 - undoing is tried again whatever the reason
            return self._again_or_park(run, step, raised)

    def _undone(self, run: Run, position: int, done: _Done) -> float | None:
        target = _undoing_from(run, position - 1)

        def record(connection: Connection) -> None:
            self._event(connection, run, done)
            if done.outcome.apply is not None:
                done.outcome.apply(connection)

        if target is None:
            return self._end_failed(run, record)

        def change(connection: Connection) -> None:
            error = run.error.to_dict() if run.error else None
            if self._store.advance(connection, run, target.name, UNDO, UNDOING, error):
                record(connection)

        self._engine.commit(run, change)
        self._moved(run, target.name, UNDO, UNDOING)
        return 0.0

    def _again_or_park(self, run: Run, step: Step, raised: Exception) -> float | None:
        if run.preempted():
            raise PreemptedError
        error = errors.typed(raised)
        now = time.monotonic()
        run.tries += 1
        if isinstance(raised, DatabaseUnavailable):
            run.first_tries.clear()
            return _pause(run.tries, _LONGEST_DATABASE_PAUSE)
        pause = _pause(run.tries, _LONGEST_PAUSE)
        if now + pause < run.first_tries.get(step.name, now) + step.undo_timeout:
            _log.warning("%r: try %d of undoing %s failed: %s", run, run.tries, step.name, error)
            return pause
        _log.error("%r: %s cannot be undone", run, step.name, exc_info=raised)
        return self._park(run, error)

    # ---- ends ----------------------------------------------------------------------------------------------

    def _end_failed(self, run: Run, record: Callable[[Connection], None]) -> float | None:
        error = run.error or errors.Internal("The operation failed.")
        steps = run.definition.steps
        restarted: list[dict[str, object]] = []

        def change(connection: Connection) -> None:
            restarted.clear()
            if not self._store.end(connection, run, FAILED, error.to_dict()):
                return
            record(connection)
            restart = run.definition.failed(run, error, connection)
            if restart is not None:
                restarted.append(restart.memory)
                self._store.again(connection, run, steps[0].name, restart.memory, RUNNING)

        self._engine.commit(run, change, ends=True)
        if not restarted:
            self._ended(run, FAILED)
            return None
        run.memory, run.error = dict(restarted[0]), None
        run.round += 1
        self._moved(run, steps[0].name, DO, RUNNING)
        return 0.0

    def _give_way(self, run: Run) -> float | None:
        def change(connection: Connection) -> None:
            if self._store.give_way(connection, run, PREEMPTED):
                run.definition.preempted(run, connection)

        try:
            self._engine.commit(run, change, ends=True)
        except LeaseLostError:
            raise
        except Exception as raised:  # noqa: BLE001 - it has to give way in the end
            run.tries += 1
            _log.exception("%r cannot give way", run)
            if run.tries > 10:
                return self._park(run, errors.typed(raised))
            return _pause(run.tries, _LONGEST_PAUSE)
        self._ended(run, PREEMPTED)
        return None

    def _park(self, run: Run, error: errors.Error) -> float | None:
        """Nothing more can be done without an operator."""
        cause = run.error.to_dict() if run.error else error.to_dict()
        kept = {**cause, "stuck": error.to_dict()}
        self._engine.commit(run, lambda connection: self._store.park(connection, run, kept))
        self._ended(run, STUCK)
        return None

    def _ended(self, run: Run, state: str) -> None:
        run.state = state
        telemetry.OPERATIONS_ENDED.labels(run.kind, state).inc()
        level = logging.ERROR if state == STUCK else logging.INFO
        _log.log(level, "%s %s of %s is %s", run.kind, run.id, run.subject, state)

    # ---- common --------------------------------------------------------------------------------------------

    def _act(self, run: Run, step: Step, function: Callable[[Run], Outcome | None], deadline: float) -> _Done:
        started = time.monotonic()
        run.busy_until = deadline
        result = "Error"
        try:
            with (
                context.use(run.context, max(deadline - started, 0.001)),
                telemetry.span(f"{run.kind}.{step.name}", direction=run.direction),
            ):
                outcome = function(run) or Outcome()
            result = "Success"
        finally:
            run.busy_until = None
            elapsed = time.monotonic() - started
            telemetry.STEP_SECONDS.labels(run.kind, step.name, run.direction, result).observe(elapsed)
        if run.lost:
            raise LeaseLostError
        return _Done(step, outcome, elapsed)

    def _event(self, connection: Connection, run: Run, done: _Done) -> None:
        if done.step.event is None:
            return
        self._store.event(
            connection,
            run,
            step=done.step.name,
            event=done.step.event,
            host=done.outcome.host or self._engine.host,
            elapsed=done.elapsed,
            result="Success",
            details=done.outcome.details[:_DETAILS],
        )

    def _keep_lease(self, run: Run) -> None:
        """Nothing is begun under a lease that may be over."""
        while time.monotonic() >= run.lease_until:
            before = time.monotonic()
            try:
                renewed = self._db.write(lambda connection: self._store.renew(connection, run))
            except DatabaseUnavailable:
                if self._engine.handing_back():
                    raise LeaseLostError from None
                self._engine.pause(_LONGEST_DATABASE_PAUSE)
                continue
            if not renewed:
                raise LeaseLostError
            run.lease_until = before + self._engine.lease_seconds

    def _moved(self, run: Run, step: str, direction: str, state: str) -> None:
        """The row has moved, and so has what is known of it here."""
        run.committed_step = run.step = step
        run.direction, run.state = direction, state
        run.first_tries.clear()
        run.tries = 0
        run.attempt = 1

    def _position(self, run: Run) -> int | None:
        found = _position_of(run, run.committed_step, -1)
        return None if found < 0 else found


def _position_of(run: Run, name: str, otherwise: int) -> int:
    for position, step in enumerate(run.definition.steps):
        if step.name == name:
            return position
    return otherwise


def _merged(memory: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
    """As a later replica will read it."""
    return {**memory, **orjson.loads(orjson.dumps(outcome.memory))} if outcome.memory else memory


def _undoing_from(run: Run, position: int) -> Step | None:
    """The step at or below a position that is the next to undo."""
    for step in reversed(run.definition.steps[: position + 1]):
        if step.undoes:
            return step
    return None


def _pause(tries: int, longest: float) -> float:
    pause = min(_FIRST_PAUSE * 2 ** min(tries - 1, 10), longest)
    return float(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter


def _unknown_step(run: Run) -> errors.Error:
    return errors.Internal(
        f"The step {run.committed_step} is not known to this version.",
        reason="OPERATION_STEP_UNKNOWN",
        step=run.committed_step,
    )
