"""One operation while this process works on it: what its steps see, and what the engine knows of it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from protonova.services.runtime import context, errors
from protonova.services.runtime.database import Database
from protonova.services.runtime.operations.step import Kind, LeaseLostError, PreemptedError
from protonova.services.runtime.operations.tables import DO, UNDO


@dataclass(frozen=True)
class Fence:
    """Goes with every call that changes something outside: who acts, by what right, and for which step."""

    operation_id: str
    step: str
    generation: int
    sequence: int

    def fields(self) -> dict[str, Any]:
        """For a contract's Fence message: `Fence(**run.fence.fields())`."""
        return asdict(self)


class Run:
    """What a step sees. Everything public is to be read only; a step's results go by its Outcome."""

    def __init__(self, definition: Kind, row: Any, db: Database, lease_until: float) -> None:
        self.definition = definition
        self.id: str = row.id
        self.kind: str = row.kind
        self.action: str = row.action
        self.subject: str = row.subject
        self.payload: dict[str, Any] = row.payload
        self.memory: dict[str, Any] = row.memory
        self.context = context.from_dict(row.context)
        self.step: str = row.step
        self.round: int = row.round
        self.attempt: int = row.attempt
        self.generation: int = row.generation
        self.sequence: int = row.sequence
        self.direction: str = row.direction
        # Why it is being undone.
        self.error: errors.Error | None = errors.from_dict(row.error) if row.error else None
        self.db = db
        # The rest is the engine's. `committed_step` is the row's, which `step` runs ahead of.
        self.committed_step: str = row.step
        self.state: str = row.state
        self.lease_until = lease_until
        self.deadline = time.monotonic() + (row.deadline_at - row.now_at) / 1e6
        self.step_deadline = float("inf")
        # When the present try is overdue, while there is one.
        self.busy_until: float | None = None
        self.tries = 0
        # When each step since the last commit was first tried.
        self.first_tries: dict[str, float] = {}
        # Set when an earlier worker hangs in a step: which, and what the operation is turned back for.
        self.overrun: errors.Error | None = None
        self.overrun_step = ""
        self.lost = False
        # Between two drives: in nobody's hands until the clock, or a preemption, wakes it.
        self.waiting = False
        self.turn = 0
        self._preempted = threading.Event()
        self._interrupts: list[Callable[[], object]] = []
        if row.preempted:
            self._preempted.set()

    @property
    def fence(self) -> Fence:
        """The same in every repetition of a step; another one for undoing it, and in another round."""
        step = self.step if self.direction == DO else f"{self.step}/{UNDO}"
        if self.round:
            step = f"{step}#{self.round}"
        return Fence(self.id, step, self.generation, self.sequence)

    def preempted(self) -> bool:
        return self._preempted.is_set()

    def check(self) -> None:
        """For long effects: raises when it is no use, or no right, to go on."""
        if self._preempted.is_set():
            raise PreemptedError
        now = time.monotonic()
        if self.lost or now > self.lease_until:
            raise LeaseLostError
        if now > self.step_deadline:
            raise errors.DeadlineExceeded(
                f"The step {self.step} took too long.", reason="STEP_DEADLINE_EXCEEDED", step=self.step
            )

    def remaining(self) -> float:
        """Seconds this try of the step still has."""
        return max(self.step_deadline - time.monotonic(), 0.0)

    def wait(self, seconds: float) -> None:
        """Waits, for example before looking again, but not longer than the step may last nor past a
        preemption."""
        self._preempted.wait(min(seconds, self.remaining()))
        self.check()

    @contextlib.contextmanager
    def interruptible(self, interrupt: Callable[[], object]) -> Iterator[None]:
        """Runs a block during which `interrupt` (for example a stream's `cancel`) is called on preemption."""
        self._interrupts.append(interrupt)
        try:
            if self._preempted.is_set():
                raise PreemptedError
            yield
        finally:
            self._interrupts.remove(interrupt)

    def preempt(self) -> None:
        """Told by the engine."""
        self._preempted.set()
        for interrupt in list(self._interrupts):
            interrupt()

    def __repr__(self) -> str:
        return f"<{self.kind} {self.id} of {self.subject}: {self.direction} {self.step}, {self.state}>"
