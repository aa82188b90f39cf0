"""What several engines do with the same operations: lines, leases, take-over, handing back, dying."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, make_url

from protonova.services.runtime import errors
from protonova.services.runtime.database import Database
from protonova.services.runtime.operations import Engine, Outcome, PreemptedError, Run, Step
from tests.support.journeys import Journeys, tables
from tests.support.proxy import Proxy

PATIENCE = 15.0
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[Journeys]:
    world = Journeys(database_url, tmp_path / "outside")
    yield world
    world.db.close()


@pytest.fixture
def replicas(world: Journeys) -> Iterator[Callable[..., Engine]]:
    """Makes engines over one database, each with connections of its own. Their leases are long, so that a slow
    machine does not look like a dead replica; what is about leases asks for short ones."""
    made: list[Engine] = []

    def make(**options: float) -> Engine:
        engine = world.engine(Database(world.url), **{"lease_seconds": 10, **options})
        made.append(engine)
        engine.start()
        return engine

    yield make
    for engine in made:
        engine.stop()
        engine.db.close()


class Gate:
    """Makes a step stop before its effect until it is let on."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        self.runs: list[Run] = []
        definition = engine.kinds["travel"]
        self._inner = next(step for step in definition.steps if step.name == name)
        mine = Step(name, do=self._do, undo=self._inner.undo)
        definition.steps = [mine if step is self._inner else step for step in definition.steps]

    def _do(self, run: Run) -> Outcome | None:
        self.runs.append(run)
        self.reached.set()
        while not self.opened.wait(0.01):
            run.check()
        return self._inner.do(run)


def test_operations_of_one_subject_run_one_after_another(
    world: Journeys, replicas: Callable[..., Engine]
) -> None:
    # Nobody is to be taken for dead because the machine was busy.
    engines = [replicas(lease_seconds=60), replicas(lease_seconds=60)]
    running, overlaps, order = [0], [], []
    lock = threading.Lock()

    def once(run: Run) -> None:
        with lock:
            overlaps.append(running[0])
            running[0] += 1
            order.append(run.sequence)
        threading.Event().wait(0.01)
        with lock:
            running[0] -= 1

    for engine in engines:
        definition = engine.kinds["travel"]
        definition.steps = [Step("once", do=once)]
    ids = [world.begin(engines[place % 2], "the-subject") for place in range(8)]
    for operation_id in ids:
        assert engines[0].wait(operation_id, PATIENCE).state == "done"
    assert set(overlaps) == {0}
    assert order == sorted(order)


def test_another_replica_is_not_touched_while_its_lease_runs(
    world: Journeys, replicas: Callable[..., Engine]
) -> None:
    holder, other = replicas(lease_seconds=1.5), replicas()
    gate = Gate(holder, "pay")
    operation_id = world.begin(holder)
    assert gate.reached.wait(PATIENCE)
    threading.Event().wait(holder.lease_seconds * 2)  # renewed meanwhile, more than once
    found = other.get(operation_id)
    assert (found.owner, found.generation) == (holder.owner, 1)
    gate.opened.set()
    assert other.wait(operation_id, PATIENCE).state == "done"
    world.assert_done(operation_id)


def test_a_stopping_replica_hands_back_what_does_not_end_in_time(
    world: Journeys, replicas: Callable[..., Engine]
) -> None:
    leaving = replicas()
    gate = Gate(leaving, "pay")
    operation_id = world.begin(leaving)
    assert gate.reached.wait(PATIENCE)
    leaving.stop(grace=0.05)
    heir = replicas()
    found = heir.wait(operation_id, PATIENCE)
    gate.opened.set()
    assert (found.state, found.generation) == ("done", 2)
    world.assert_done(operation_id)


def test_a_stopping_replica_finishes_what_ends_in_time(
    world: Journeys, replicas: Callable[..., Engine]
) -> None:
    leaving = replicas()
    gate = Gate(leaving, "pay")
    operation_id = world.begin(leaving)
    assert gate.reached.wait(PATIENCE)
    threading.Timer(0.1, gate.opened.set).start()
    leaving.stop(grace=PATIENCE)
    found = leaving.get(operation_id)
    assert (found.state, found.generation) == ("done", 1)


def test_who_lost_the_lease_changes_nothing_any_more(
    world: Journeys, replicas: Callable[..., Engine]
) -> None:
    """A replica that slept past its lease wakes when another one has finished the operation."""
    sleeper = world.engine(Database(world.url))  # never started: it renews nothing
    asleep, wake = threading.Event(), threading.Event()

    def sleep(_run: Run) -> Outcome:
        asleep.set()
        wake.wait(PATIENCE)
        return Outcome(memory={"from": "the sleeper"})

    definition = sleeper.kinds["travel"]
    definition.steps = [Step("pay", do=sleep) if step.name == "pay" else step for step in definition.steps]
    operation_id = world.begin(sleeper)
    assert asleep.wait(PATIENCE)
    heir = replicas()
    assert heir.wait(operation_id, PATIENCE).state == "done"
    before = heir.get(operation_id)
    wake.set()
    sleeper.stop(grace=1)
    assert heir.get(operation_id) == before
    world.assert_done(operation_id)
    sleeper.db.close()


def test_a_preempting_operation_reaches_the_replica_that_works(
    world: Journeys, replicas: Callable[..., Engine]
) -> None:
    """Told by the row: the delete was asked of another replica."""
    worker, asked = replicas(), replicas()
    gate = Gate(worker, "pay")
    operation_id = world.begin(worker)
    assert gate.reached.wait(PATIENCE)
    sweeping = world.preempt(asked, operation_id)
    assert asked.wait(sweeping, PATIENCE).state == "done"
    assert asked.get(operation_id).state == "preempted"
    world.assert_swept(operation_id)


def test_preemption_interrupts_a_long_effect(world: Journeys, replicas: Callable[..., Engine]) -> None:
    engine = replicas()
    begun, cancelled = threading.Event(), threading.Event()

    def stream(run: Run) -> None:
        with run.interruptible(cancelled.set):
            begun.set()
            assert cancelled.wait(PATIENCE)
        raise errors.Cancelled("as a stream does")

    definition = engine.kinds["travel"]
    definition.steps = [Step("pay", do=stream) if step.name == "pay" else step for step in definition.steps]
    operation_id = world.begin(engine)
    assert begun.wait(PATIENCE)
    sweeping = world.preempt(engine, operation_id)
    assert engine.wait(sweeping, PATIENCE).state == "done"
    assert engine.get(operation_id).state == "preempted"
    run = Run(definition, _row(world, operation_id), world.db, 0.0)
    with pytest.raises(PreemptedError):
        run.check()


def test_a_step_that_is_no_more_leaves_its_operation_stuck(
    world: Journeys, replicas: Callable[..., Engine]
) -> None:
    old = replicas()
    gate = Gate(old, "pay")
    operation_id = world.begin(old)
    assert gate.reached.wait(PATIENCE)
    old.stop()
    new = world.engine(Database(world.url))
    definition = new.kinds["travel"]
    definition.steps = [step for step in definition.steps if step.name != "pay"]
    new.start()
    found = new.wait(operation_id, PATIENCE)
    new.stop()
    new.db.close()
    assert found.state == "stuck"
    assert found.error is not None
    assert found.error.reason == "OPERATION_STEP_UNKNOWN"


def test_an_operation_nobody_said_anything_of_is_found(
    world: Journeys, replicas: Callable[..., Engine]
) -> None:
    """Created by a handler that died before it could call `run`."""
    engine = replicas()
    operation_id = engine.db.write(lambda c: engine.create(c, "travel", str(uuid.uuid4()), {}))
    assert engine.wait(operation_id, PATIENCE).state == "done"


def test_an_operation_may_be_told_to_wait(world: Journeys, replicas: Callable[..., Engine]) -> None:
    engine = replicas()
    operation_id = engine.db.write(
        lambda c: engine.create(c, "travel", str(uuid.uuid4()), {}, delay_seconds=0.5)
    )
    engine.run(operation_id)
    found = engine.wait(operation_id, PATIENCE)
    assert found.state == "done"
    assert found.finished_at - found.created_at >= 500_000


def test_an_operation_may_create_the_next_one(world: Journeys, replicas: Callable[..., Engine]) -> None:
    engine = replicas()
    created: list[str] = []

    class Onwards(type(engine.kinds["forget"])):  # type: ignore[misc]
        def finished(self, run: Run, connection: Connection) -> None:
            created.append(engine.create(connection, "forget", run.subject, {}))
            created.append(engine.create(connection, "forget", str(uuid.uuid4()), {}))

    engine.kinds["travel"].finished = Onwards(world.outside).finished  # type: ignore[method-assign]
    operation_id = world.begin(engine)
    assert engine.wait(operation_id, PATIENCE).state == "done"
    for next_id in created[-2:]:
        assert engine.wait(next_id, PATIENCE).state == "done"


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("commit", range(4))
def test_a_process_killed_around_a_commit(sqlite_url: str, tmp_path: Path, commit: int, moment: str) -> None:
    """The real thing, with SIGKILL; the other databases see the same through the kit."""
    world = Journeys(sqlite_url, tmp_path / "outside")
    subject = str(uuid.uuid4())
    killed = subprocess.run(
        [
            *(sys.executable, "-m", "tests.functional.runtime.victim"),
            *(world.url, str(world.outside.path), subject, str(commit), moment),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    heir = world.engine(world.db)
    heir.start()
    found = heir.list(subject=subject)[0]
    world._subjects[found.id] = subject
    assert heir.wait(found.id, PATIENCE).state == "done"
    world.assert_done(found.id)
    heir.stop()
    world.db.close()


@pytest.mark.postgresql
def test_operations_outlive_an_outage_of_their_database(postgresql_url: str, tmp_path: Path) -> None:
    """The database refuses connections for several leases, while an effect is under way and while one is to
    be committed."""
    target = make_url(postgresql_url)
    proxy = Proxy(target.host or "127.0.0.1", target.port or 5432)
    world = Journeys(postgresql_url, tmp_path / "outside")
    through = target.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
    engine = world.engine(Database(through))
    engine.start()
    committing, acting = Gate(engine, "pay"), Gate(engine, "announce")
    ids = [world.begin(engine) for _ in range(5)]
    for _ in range(200):
        if len(committing.runs) == len(ids):
            break
        threading.Event().wait(0.01)
    threading.Timer(engine.lease_seconds * 4, proxy.resume).start()
    proxy.refuse()
    committing.opened.set()
    acting.opened.set()
    direct = Database(postgresql_url)
    states = sa.select(tables.operations.c.state)
    for _ in range(1500):
        if set(direct.read(lambda c: c.execute(states).scalars().all())) == {"done"}:
            break
        threading.Event().wait(0.01)
    for operation_id in ids:
        found = engine.get(operation_id)
        assert (found.state, found.error) == ("done", None)
        assert world.state(operation_id)[0] == "arrived"
    engine.stop()
    for db in (engine.db, direct, world.db):
        db.close()
    proxy.close()


def _row(world: Journeys, operation_id: str) -> object:
    o = tables.operations
    query = sa.select(o, world.db.now().label("now_at")).where(o.c.id == operation_id)
    return world.db.read(lambda connection: connection.execute(query).one())
