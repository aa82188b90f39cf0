"""Where a test can hold a call, let it fail, or lose its answer."""

from __future__ import annotations

import threading
from collections import defaultdict

from protonova.services.runtime import errors

PATIENCE = 20.0


class Gate:
    """A closed door: `reached` tells that a call stands before it, `open` lets it (and all later ones) pass."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._open = threading.Event()

    def wait_reached(self) -> None:
        assert self._reached.wait(PATIENCE), "no call came to the gate"

    def open(self) -> None:
        self._open.set()

    def passing(self) -> None:
        self._reached.set()
        assert self._open.wait(PATIENCE), "the gate stayed closed"


class Gates:
    """`before` holds a call ahead of its effect, `after` with its effect done and its answer not yet sent;
    `fail` makes the next calls fail in either place."""

    def __init__(self) -> None:
        self.before: dict[str, Gate] = {}
        self.after: dict[str, Gate] = {}
        self._failures: dict[tuple[str, str], list[errors.Error]] = defaultdict(list)
        self.calls: dict[str, int] = defaultdict(int)

    def fail(self, method: str, *failures: errors.Error, after: bool = False) -> None:
        self._failures["after" if after else "before", method].extend(failures)

    def enter(self, method: str) -> None:
        self.calls[method] += 1
        self._pass("before", self.before, method)

    def leave(self, method: str) -> None:
        self._pass("after", self.after, method)

    def _pass(self, place: str, gates: dict[str, Gate], method: str) -> None:
        if method in gates:
            gates[method].passing()
        if self._failures[place, method]:
            raise self._failures[place, method].pop(0)
