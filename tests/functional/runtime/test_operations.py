"""What an engine does with one operation: trying again, turning back, starting over, giving up, being
stuck."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy.engine import Connection

from protonova.services.runtime import context, errors
from protonova.services.runtime.operations import Engine, Outcome, Run, Step
from protonova.services.runtime.operations.keeper import Keeper
from tests.support.journeys import Journeys

PATIENCE = 10.0


def _replace(engine: Engine, step: Step, kind: str = "travel") -> None:
    """Puts a step in the place of the one of its name."""
    definition = engine.kinds[kind]
    definition.steps = [step if old.name == step.name else old for old in definition.steps]


def test_a_finished_operation_tells_what_was_done(engine: Engine, journeys: Journeys) -> None:
    with context.use(context.RequestContext(request_id="req-1", user_id="u", project_id="p")):
        operation_id = journeys.begin(engine)
    found = engine.wait(operation_id, PATIENCE)
    assert (found.state, found.action, found.request_id, found.project_id, found.user_id) == (
        "done",
        "travel",
        "req-1",
        "p",
        "u",
    )
    assert found.memory == {"planned": True, "book": "book", "pay": "pay", "announce": "announce"}
    events = engine.events(operation_id)
    assert [event.event for event in events] == ["journey_book", "journey_pay", "journey_announce"]
    assert all(event.result == "Success" for event in events)
    assert all(found.created_at <= event.started_at <= event.finished_at for event in events)


def test_steps_see_the_context_they_were_asked_in(engine: Engine, journeys: Journeys) -> None:
    seen: list[tuple[str, float | None]] = []

    def look(_run: Run) -> None:
        seen.append((context.current().request_id, context.remaining()))

    _replace(engine, Step("pay", do=look, timeout=7.0))
    with context.use(context.RequestContext(request_id="req-2")):
        operation_id = journeys.begin(engine)
    engine.wait(operation_id, PATIENCE)
    assert seen[0][0] == "req-2"
    assert seen[0][1] is not None
    assert 5.0 < seen[0][1] <= 7.0


def test_steps_that_are_not_needed_and_pure_steps_cost_no_commit(journeys: Journeys) -> None:
    engine = journeys.engine(journeys.db)
    commits: list[str] = []
    inner = engine.commit

    def commit(run: Run, fn: object, **options: bool) -> None:
        commits.append(run.step)
        inner(run, fn, **options)  # type: ignore[arg-type]

    engine.commit = commit  # type: ignore[assignment]
    operation_id = journeys.begin(engine)
    assert engine.wait(operation_id, PATIENCE).state == "done"
    # plan; book; (insure is not needed) pay with stamp; announce with the end.
    assert commits == ["plan", "book", "stamp", "announce"]
    engine.stop()


def test_a_transient_error_means_another_try(engine: Engine, journeys: Journeys) -> None:
    tries: list[str] = []

    def flicker(run: Run) -> None:
        tries.append(run.fence.step)
        if len(tries) < 3:
            raise errors.Unavailable("not now")

    _replace(engine, Step("pay", do=flicker))
    assert engine.wait(journeys.begin(engine), PATIENCE).state == "done"
    assert tries == ["pay"] * 3


def test_a_transient_error_that_lasts_turns_the_operation_back(engine: Engine, journeys: Journeys) -> None:
    def never(_run: Run) -> None:
        raise errors.Unavailable("not now", reason="SHOP_CLOSED", shop="corner")

    _replace(engine, Step("pay", do=never, timeout=0.3, event="journey_pay"))
    operation_id = journeys.begin(engine)
    found = engine.wait(operation_id, PATIENCE)
    assert found.state == "failed"
    assert found.error is not None
    assert (found.error.reason, found.error.facts) == ("SHOP_CLOSED", {"shop": "corner"})
    journeys.assert_undone(operation_id)
    failed = next(event for event in engine.events(operation_id) if event.result == "Error")
    assert (failed.step, failed.event, failed.details) == ("pay", "journey_pay", "not now")


def test_an_unexpected_error_turns_back_and_keeps_its_internals_to_the_log(
    engine: Engine, journeys: Journeys, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble(_run: Run) -> None:
        raise KeyError("a secret")

    _replace(engine, Step("announce", do=stumble))
    operation_id = journeys.begin(engine)
    found = engine.wait(operation_id, PATIENCE)
    assert isinstance(found.error, errors.Internal)
    assert "secret" not in found.error.message
    assert "a secret" in caplog.text
    journeys.assert_undone(operation_id)


def test_what_the_owner_refuses_in_the_commit_is_a_failure_of_the_step(
    engine: Engine, journeys: Journeys
) -> None:
    def refuse(_connection: object) -> None:
        raise errors.FailedPrecondition("The journey has changed.", reason="JOURNEY_CHANGED")

    _replace(engine, Step("announce", do=lambda _run: Outcome(memory={"announced": 1}, apply=refuse)))
    operation_id = journeys.begin(engine)
    found = engine.wait(operation_id, PATIENCE)
    assert found.state == "failed"
    assert found.error is not None
    assert found.error.reason == "JOURNEY_CHANGED"
    assert found.memory["announced"] == 1  # its effect had happened, and undoing needs to know of it
    journeys.assert_undone(operation_id)


def test_an_operation_may_start_over_with_another_memory(engine: Engine, journeys: Journeys) -> None:
    fences: list[str] = []

    def fail_at_first(run: Run) -> None:
        fences.append(run.fence.step)
        if run.round == 0:
            raise errors.FailedPrecondition("no")

    _replace(engine, Step("pay", do=fail_at_first, undo=lambda run: fences.append(run.fence.step)))
    operation_id = journeys.begin(engine, rounds=1)
    found = engine.wait(operation_id, PATIENCE)
    assert (found.state, found.round, found.error) == ("done", 1, None)
    assert found.memory == {"detour": True, "planned": True, "book": "book#1", "announce": "announce#1"}
    assert fences == ["pay", "pay/undo", "pay#1"]


def test_an_operation_past_its_deadline_turns_back(engine: Engine, journeys: Journeys) -> None:
    engine.kinds["travel"].deadline_seconds = 0.3

    def wait(run: Run) -> None:
        threading.Event().wait(0.4)
        raise errors.Unavailable("not yet")

    _replace(engine, Step("pay", do=wait))
    operation_id = journeys.begin(engine)
    assert engine.wait(operation_id, PATIENCE).state == "failed"
    journeys.assert_undone(operation_id)


def test_a_step_that_hangs_is_given_up(
    engine: Engine, journeys: Journeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protonova.services.runtime.operations.keeper._OVERRUN_SECONDS", 0.1)
    hanging, released = threading.Event(), threading.Event()

    def hang(_run: Run) -> Outcome:
        hanging.set()
        released.wait(PATIENCE)
        return Outcome(memory={"late": True})

    _replace(engine, Step("pay", do=hang, timeout=0.2))
    operation_id = journeys.begin(engine)
    assert hanging.wait(PATIENCE)
    found = engine.wait(operation_id, PATIENCE)
    released.set()
    assert found.state == "failed"
    assert found.error is not None
    assert found.error.reason == "STEP_DEADLINE_EXCEEDED"
    assert "late" not in engine.get(operation_id).memory
    journeys.assert_undone(operation_id)


def test_one_that_begins_while_the_keeper_looks_is_left_to_its_worker(
    journeys: Journeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Created and not heard of at two looks, it would be taken up; it begins in the middle of the second."""
    engine = journeys.engine(journeys.db, lease_seconds=60)
    begun, released = threading.Event(), threading.Event()

    def pay(_run: Run) -> None:
        begun.set()
        assert released.wait(PATIENCE)

    _replace(engine, Step("pay", do=pay))
    monkeypatch.setattr(engine, "run", lambda _operation_id: None)
    operation_id = journeys.begin(engine)
    monkeypatch.undo()
    keeper = Keeper(engine, 60)
    keeper.look()
    rows = engine.store.held

    def late(connection: Connection) -> object:
        found = rows(connection)
        engine.run(operation_id)
        assert begun.wait(PATIENCE)
        return found

    monkeypatch.setattr(engine.store, "held", late)
    keeper.look()
    (run,) = engine.held()
    assert (run.id, run.generation, run.lost) == (operation_id, 1, False)
    released.set()
    assert engine.wait(operation_id, PATIENCE).state == "done"
    engine.stop()


def test_one_that_begins_after_it_was_found_free_is_left_to_its_worker(
    journeys: Journeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its turn comes while the keeper, which has seen it free, is on its way to take it."""
    engine = journeys.engine(journeys.db, lease_seconds=60)
    begun, released = threading.Event(), threading.Event()

    def pay(_run: Run) -> None:
        begun.set()
        assert released.wait(PATIENCE)

    _replace(engine, Step("pay", do=pay))
    operation_id = journeys.leave(engine, "the-subject")
    found_free = engine.store.orphans

    def late(connection: Connection) -> list[str]:
        found = list(found_free(connection))
        assert found == [operation_id]
        engine.take(operation_id)
        assert begun.wait(PATIENCE)
        return found

    monkeypatch.setattr(engine.store, "orphans", late)
    Keeper(engine, 60).look()
    # As when the other thread has claimed it and not begun yet.
    engine.take(operation_id)
    (run,) = engine.held()
    assert (run.id, run.generation, run.lost) == (operation_id, 2, False)
    released.set()
    assert engine.wait(operation_id, PATIENCE).state == "done"
    engine.stop()


def test_undoing_is_tried_until_it_works(engine: Engine, journeys: Journeys) -> None:
    tries: list[int] = []

    def fail(_run: Run) -> None:
        raise errors.InvalidArgument("no")

    def undo(_run: Run) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise RuntimeError("stumbles")

    _replace(engine, Step("pay", do=fail, undo=undo))
    operation_id = journeys.begin(engine)
    assert engine.wait(operation_id, PATIENCE).state == "failed"
    journeys.assert_undone(operation_id)


def _stuck(engine: Engine, journeys: Journeys, mended: threading.Event) -> str:
    def fail(_run: Run) -> None:
        raise errors.InvalidArgument("no")

    def undo(_run: Run) -> None:
        if not mended.is_set():
            raise errors.Internal("broken", reason="BROKEN")

    _replace(engine, Step("pay", do=fail, undo=undo, undo_timeout=0.2))
    operation_id = journeys.begin(engine)
    found = engine.wait(operation_id, PATIENCE)
    assert (found.state, found.step, found.direction) == ("stuck", "pay", "undo")
    assert found.error is not None
    assert found.error.reason == "BROKEN"
    return operation_id


def test_an_operator_lets_a_stuck_operation_try_again(engine: Engine, journeys: Journeys) -> None:
    mended = threading.Event()
    operation_id = _stuck(engine, journeys, mended)
    assert [found.id for found in engine.list(states=["stuck"])] == [operation_id]
    mended.set()
    engine.retry(operation_id)
    found = engine.wait(operation_id, PATIENCE)
    assert found.state == "failed"
    assert found.error is not None
    assert found.error.reason == "INVALID_ARGUMENT"  # what it was undone for
    journeys.assert_undone(operation_id)


def test_an_operator_gives_a_stuck_operation_up(engine: Engine, journeys: Journeys) -> None:
    operation_id = _stuck(engine, journeys, threading.Event())
    waiting = journeys.begin(engine, journeys.subject(operation_id))
    assert engine.get(waiting).state == "pending"
    assert engine.give_up(operation_id).state == "failed"
    assert engine.wait(waiting, PATIENCE).state == "stuck"  # it had its turn, and the same broken step
    with pytest.raises(errors.FailedPrecondition) as refused:
        engine.retry(operation_id)
    assert refused.value.reason == "OPERATION_NOT_STUCK"
    with pytest.raises(errors.NotFound) as unknown:
        engine.give_up("none")
    assert unknown.value.reason == "OPERATION_NOT_FOUND"


def test_a_preempting_operation_clears_a_stuck_one_away(engine: Engine, journeys: Journeys) -> None:
    operation_id = _stuck(engine, journeys, threading.Event())
    sweeping = journeys.preempt(engine, operation_id)
    assert engine.wait(sweeping, PATIENCE).state == "done"
    assert engine.get(operation_id).state == "preempted"
    journeys.assert_swept(operation_id)


def test_lists_are_paged_newest_first(engine: Engine, journeys: Journeys) -> None:
    ids = [journeys.begin(engine, "always-the-same") for _ in range(5)]
    engine.wait(ids[-1], PATIENCE)
    first = engine.list(subject="always-the-same", limit=3)
    rest = engine.list(subject="always-the-same", limit=3, before=first[-1].sequence)
    assert [found.id for found in (*first, *rest)] == ids[::-1]
    assert engine.list(subject="another") == []
