"""What an engine does beside its work: renewing leases, seeing preemptions, taking over orphans, ending
overruns.

An operation is orphaned if and only if it is unfinished, not stuck (or stuck and preempted), due, first in
line for its subject, of a kind this engine knows, and its lease is over or was given back. One pass takes at
most 200.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from protonova.services.runtime import errors
from protonova.services.runtime.database import DatabaseUnavailable
from protonova.services.runtime.operations.run import Run

if TYPE_CHECKING:
    from protonova.services.runtime.operations.engine import Engine

_log = logging.getLogger("protonova.operations")

# How long a step may ignore its deadline before it is given up.
_OVERRUN_SECONDS = 5.0


class Keeper:
    def __init__(self, engine: Engine, poll_seconds: float) -> None:
        self._engine = engine
        self._poll_seconds = poll_seconds
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._renewed_at = 0.0
        self._strays: set[str] = set()
        self._away = False

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="operations-keeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
                self._away = False
            except DatabaseUnavailable as error:
                if not self._away:
                    _log.warning("Operations wait for the database: %s", error)
                self._away = True
            except Exception:  # noqa: BLE001 - the next pass may do better
                _log.exception("Looking after operations failed")
            self._stop.wait(self._poll_seconds)

    def look(self) -> None:
        """One pass."""
        engine = self._engine
        for run in engine.held():
            if run.busy_until is not None and time.monotonic() > run.busy_until + _OVERRUN_SECONDS:
                self._give_up_try(run)
        known: dict[str, Run] = {run.id: run for run in engine.held()}
        before = time.monotonic()
        renew = known and before - self._renewed_at >= engine.lease_seconds / 3
        if renew:
            engine.db.write(engine.store.renew_all)
            self._renewed_at = before
        rows = engine.db.read(engine.store.held)
        strays: set[str] = set()
        for row in rows:
            mine = known.pop(row.id, None)
            if mine is None:
                strays.add(row.id)
            elif row.generation != mine.generation:
                engine.lose(mine)
            else:
                if renew:
                    mine.lease_until = max(mine.lease_until, before + engine.lease_seconds)
                if row.preempted and not mine.preempted():
                    engine.preempt(mine)
        for run in known.values():  # held a moment ago, and not leased to us any more
            engine.lose(run)
        # Ours, yet nobody here works on them: their creator never came to say so. One that has come meanwhile is at
        # work, and is not to be overtaken.
        for operation_id in (strays & self._strays) - {run.id for run in engine.held()}:
            engine.take(operation_id, stray=True)
        self._strays = strays
        orphans = engine.db.read(engine.store.orphans)
        ours = {run.id for run in engine.held()}  # whose lease may be over only because this thread was slow
        for operation_id in orphans:
            if self._stop.is_set():
                return
            if operation_id not in ours:
                engine.take(operation_id)

    def _give_up_try(self, run: Run) -> None:
        """A step that hangs past its deadline is left to its thread; the operation goes on without it."""
        _log.error("%r hangs in its step: given up", run)
        error = errors.DeadlineExceeded(
            f"The step {run.step} did not end in time.", reason="STEP_DEADLINE_EXCEEDED", step=run.step
        )
        self._engine.take(run.id, overrun=error, overrun_step=run.step)
