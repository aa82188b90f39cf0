"""Proves of a kind of operation what must be true of all of them, without knowing what it does.

Give it a `Case`: how to build an engine over a database, how to begin one operation on something fresh, and
how to tell from outside (not from the operation's own row) that it was done, undone, or swept up by what
preempted it. Then

    prove_repeatable(case)       every step, and every undoing, may happen twice
    prove_undone(case)           whichever step fails, before its effect or after it, nothing is left
    prove_killed(case)           a replica may die before and after each of its commits; another one goes on
    prove_preempted(case)        an operation that preempts may arrive while any step is under way
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from sqlalchemy.engine import Connection

from protonova.services.runtime import errors
from protonova.services.runtime.database import Database
from protonova.services.runtime.operations import Engine, Outcome, Run, Step

T = TypeVar("T")

LEASE_SECONDS = 0.25
POLL_SECONDS = 0.03
PATIENCE = 60.0

# How often which service has died so far, in this process; the report tells of all processes. In `prove_killed` it
# is the conductor, which has most of the operations.
deaths_died: Counter[str] = Counter()


class Case(Protocol):
    """One kind of operation and the world it acts on."""

    # The kind to be proven.
    kind: str

    def open(self, make: Callable[[str], Database]) -> Database:
        """`make(url)`, for the case's own database."""

    def engine(self, db: Database) -> Engine:
        """An engine with the kind (and the preempting one), with LEASE_SECONDS and POLL_SECONDS; not
        started."""

    def begin(self, engine: Engine) -> str:
        """Creates an operation on something fresh and hands it to the engine; its id."""

    def preempt(self, engine: Engine, operation_id: str) -> str:
        """Creates the operation that preempts it, and hands that to the engine; its id."""

    def assert_done(self, operation_id: str) -> None: ...

    def assert_undone(self, operation_id: str) -> None: ...

    def assert_swept(self, operation_id: str) -> None: ...


def prove_repeatable(case: Case) -> None:
    """Every step done twice; then the last one failing, and every undoing done twice."""
    db = case.open(Database)
    with _running(case, db) as engine:
        _wrap(engine, case.kind, _Twice)
        operation_id = case.begin(engine)
        _ends(engine, operation_id, "done")
        case.assert_done(operation_id)
    with _running(case, db) as engine:
        steps = _wrap(engine, case.kind, _Twice)
        _last(case, steps).fails = "after"
        operation_id = case.begin(engine)
        _ends(engine, operation_id, "failed")
        case.assert_undone(operation_id)
    db.close()


def prove_undone(case: Case) -> None:
    """Each step failing for good, before its effect and after it."""
    db = case.open(Database)
    with _running(case, db) as engine:
        steps = _wrap(engine, case.kind, _Watched)
        _ends(engine, case.begin(engine), "done")
        for step in _needed(steps):
            for moment in ("before", "after"):
                step.fails = moment
                operation_id = case.begin(engine)
                _ends(engine, operation_id, "failed")
                case.assert_undone(operation_id)
            step.fails = ""
    db.close()


def prove_killed(case: Case, *, failing: bool = False, commits: int = 0) -> int:
    """A replica that dies around each of its transactions but the first so many `commits`, forwards or (with
    `failing`) while undoing. Returns how many deaths were died."""
    first = deaths = commits * 2
    while True:
        for moment in ("before", "after"):
            mortal = case.open(_Mortal)
            assert isinstance(mortal, _Mortal)
            victim = case.engine(mortal)
            if failing:
                _fails_last(case, victim)
            mortal.dies_at, mortal.moment = deaths // 2, moment
            mortal.armed = True
            operation_id = case.begin(victim)
            died = mortal.died.wait(0.0 if _over(victim, mortal, operation_id) else PATIENCE)
            if not died:
                assert deaths > first, "the operation ended without a single transaction"
                victim.stop()
                mortal.close()
                return deaths - first
            deaths += 1
            count_a_death("conductor")
            db = case.open(Database)
            # It takes the operation over as soon as it starts.
            with _running(case, db, _fails_last if failing else None) as heir:
                _ends(heir, operation_id, "failed" if failing else "done")
            (case.assert_undone if failing else case.assert_done)(operation_id)
            db.close()
            # What the dead one had open is closed, as its end would have done.
            mortal.close()


def count_a_death(service: str) -> None:
    deaths_died[service] += 1


def prove_preempted(case: Case) -> None:
    """While each step is under way, before its effect and after it, the preempting operation arrives."""
    db = case.open(Database)
    with _running(case, db) as engine:
        steps = _wrap(engine, case.kind, _Watched)
        _ends(engine, case.begin(engine), "done")
        for step in _needed(steps):
            if step.name in getattr(case, "beyond", ()):
                continue
            for moment in ("before", "after"):
                step.stops = moment
                operation_id = case.begin(engine)
                assert step.reached.wait(PATIENCE)
                sweeping = case.preempt(engine, operation_id)
                step.go_on.set()
                _ends(engine, sweeping, "done")
                _ends(engine, operation_id, "preempted")
                case.assert_swept(operation_id)
                step.rest()
    db.close()


# ---- what the proofs stand on ------------------------------------------------------------------------------


class _running:
    """A started engine, stopped at the end of the block; `prepared` before it starts."""

    def __init__(
        self, case: Case, db: Database, prepared: Callable[[Case, Engine], object] | None = None
    ) -> None:
        self._engine = case.engine(db)
        if prepared is not None:
            prepared(case, self._engine)

    def __enter__(self) -> Engine:
        self._engine.start()
        return self._engine

    def __exit__(self, *_: object) -> None:
        self._engine.stop()


def _ends(engine: Engine, operation_id: str, state: str) -> None:
    found = engine.wait(operation_id, PATIENCE)
    assert found.state == state, f"{found.state} at {found.step} ({found.direction}): {found.error!r}"


class _Watched(Step):
    """A step that does what another one does, and can be made to fail or to stop around its effect."""

    def __init__(self, inner: Step) -> None:
        self.inner = inner
        self.fails = ""
        self.stops = ""
        self.was_done = False
        self.reached = threading.Event()
        self.go_on = threading.Event()
        super().__init__(
            inner.name,
            event=inner.event,
            timeout=inner.timeout,
            undo_timeout=inner.undo_timeout,
            pure=inner.pure,
        )

    @property
    def undoes(self) -> bool:
        return self.inner.undoes

    def needed(self, run: Run) -> bool:
        return self.inner.needed(run)

    def do(self, run: Run) -> Outcome | None:
        self._at("before")
        outcome = self._act(run)
        self.was_done = True
        self._at("after")
        return outcome

    def undo(self, run: Run) -> Outcome | None:
        return self.inner.undo(run)

    def rest(self) -> None:
        self.stops = ""
        self.reached.clear()
        self.go_on.clear()

    def _act(self, run: Run) -> Outcome | None:
        return self.inner.do(run)

    def _at(self, moment: str) -> None:
        if self.stops == moment:
            self.reached.set()
            assert self.go_on.wait(PATIENCE)
        if self.fails == moment:
            raise errors.FailedPrecondition(f"{self.name} was made to fail {moment} its effect.")


class _Twice(_Watched):
    """Does, and undoes, everything twice, as after a crash."""

    def _act(self, run: Run) -> Outcome | None:
        self.inner.do(run)
        return self.inner.do(run)

    def undo(self, run: Run) -> Outcome | None:
        self.inner.undo(run)
        return self.inner.undo(run)


def _wrap(engine: Engine, kind: str, how: type[_Watched]) -> list[_Watched]:
    definition = engine.kinds[kind]
    steps = [how(step) for step in definition.steps]
    definition.steps = steps
    return steps


def _fails_last(case: Case, engine: Engine) -> None:
    """The last step fails once its effect has happened."""
    _last(case, _wrap(engine, case.kind, _Watched)).fails = "after"


def _needed(steps: list[_Watched]) -> list[_Watched]:
    """Those that have been done at least once."""
    return [step for step in steps if step.was_done] or steps


def _last(case: Case, steps: list[_Watched]) -> _Watched:
    """What the case ends with: the last step of its kind, unless it names another, because that is not needed."""
    name = getattr(case, "last", "")
    return next((step for step in steps if step.name == name), steps[-1])


class _Mortal(Database):
    """A database as a process that dies sees it: from one moment on, nothing of what it does happens."""

    armed = False
    dies_at = 0
    moment = "before"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.died = threading.Event()
        self._writes = 0

    def read(self, fn: Callable[[Connection], T], **options: Any) -> T:
        self._live()
        return super().read(fn, **options)

    def write(self, fn: Callable[[Connection], T], **options: Any) -> T:
        self._live()
        # What creates the operation is its owner's, and what begins it is not killed.
        if not self.armed or not threading.current_thread().name.startswith("operations-"):
            return super().write(fn, **options)
        mine = self._writes == self.dies_at
        self._writes += 1
        if mine and self.moment == "before":
            self._die()
        result = super().write(fn, **options)
        if mine:
            self._die()
        return result

    def _die(self) -> None:
        self.died.set()
        self._live()

    def _live(self) -> None:
        if self.died.is_set():
            threading.Event().wait()  # the thread that called never goes on


def _over(engine: Engine, mortal: _Mortal, operation_id: str) -> bool:
    """Waits until the operation has ended, or the replica has died; whether it has ended."""
    for _ in _until(PATIENCE):
        if mortal.died.is_set():
            return False
        if Database.read(mortal, lambda c: engine.store.load(c, operation_id)).finished_at is not None:  # type: ignore[union-attr]
            return True
    raise AssertionError("it neither ended nor died")


def _until(seconds: float) -> Iterator[None]:
    tick = threading.Event()
    for _ in range(int(seconds / 0.005)):
        yield
        tick.wait(0.005)
