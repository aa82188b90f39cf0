"""The threads operations are worked on by, and the clock that wakes those that wait."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable

_log = logging.getLogger("protonova.operations")

Task = Callable[[], None]


class Workers:
    """At most `limit` threads, begun as they are needed."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tasks: deque[Task] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0
        self._stopped = False

    def submit(self, task: Task) -> None:
        with self._changed:
            self._tasks.append(task)
            if len(self._tasks) > self._idle and self._threads < self._limit:
                self._threads += 1
                name = f"operations-{self._threads}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
            else:
                self._changed.notify()

    def replace_one(self) -> None:
        """A thread hangs in a step and is not counted on any more."""
        with self._changed:
            self._limit += 1

    def stop(self) -> None:
        """Threads end when they have nothing more to do."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def describe(self) -> str:
        return f"{self._threads} threads of {self._limit}, {self._idle} idle, {len(self._tasks)} waiting"

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._tasks:
                    if self._stopped:
                        self._threads -= 1
                        return
                    self._idle += 1
                    self._changed.wait()
                    self._idle -= 1
                task = self._tasks.popleft()
            try:
                task()
            except Exception:  # noqa: BLE001 - the thread is needed for other tasks
                _log.exception("A worker failed")


class Clock:
    """Runs tasks at their time, in one thread; they must be short."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._due: list[tuple[float, int, Task]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def after(self, seconds: float, task: Task) -> None:
        with self._condition:
            if self._stopped:
                return
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), task))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="operations-clock", daemon=True)
                self._thread.start()
            self._condition.notify()

    def stop(self) -> None:
        with self._condition:
            self._stopped = True
            self._due.clear()
            self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._stopped and (not self._due or self._due[0][0] > time.monotonic()):
                    self._condition.wait(self._due[0][0] - time.monotonic() if self._due else None)
                if self._stopped:
                    return
                task = heapq.heappop(self._due)[2]
            task()
