"""Threads and the clock of the operation engine."""

from __future__ import annotations

import threading

from protonova.services.runtime.operations.workers import Clock, Workers

PATIENCE = 5.0


def test_no_task_waits_behind_one_that_hangs() -> None:
    workers, release = Workers(8), threading.Event()
    for _ in range(50):
        hanging, done = threading.Event(), threading.Event()

        def hang(hanging: threading.Event = hanging) -> None:
            hanging.set()
            release.wait(PATIENCE)

        workers.submit(hang)
        assert hanging.wait(PATIENCE)
        workers.submit(done.set)
        assert done.wait(PATIENCE)
        release.set()
    workers.stop()


def test_tasks_beyond_the_limit_wait_and_a_failing_task_costs_no_thread() -> None:
    workers, release = Workers(2), threading.Event()
    done = [threading.Event() for _ in range(4)]

    def work(event: threading.Event) -> None:
        release.wait(PATIENCE)
        event.set()
        raise RuntimeError("a task's own mistake")

    for event in done:
        workers.submit(lambda event=event: work(event))  # type: ignore[misc]
    assert "2 threads of 2" in workers.describe()
    release.set()
    assert all(event.wait(PATIENCE) for event in done)
    workers.stop()


def test_the_clock_runs_tasks_in_the_order_they_are_due() -> None:
    clock, ran, all_ran = Clock(), [], threading.Event()
    clock.after(0.05, lambda: (ran.append("late"), all_ran.set()))
    clock.after(0.0, lambda: ran.append("early"))
    assert all_ran.wait(PATIENCE)
    assert ran == ["early", "late"]
    clock.stop()
    clock.after(0.0, lambda: ran.append("never"))
    assert ran == ["early", "late"]
