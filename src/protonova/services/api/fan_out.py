"""Asks several cells the same at once."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from protonova.services.api.conductors import Conductor
from protonova.services.runtime import errors

T = TypeVar("T")


@dataclass
class Answers(Generic[T]):
    """What the cells that answered said, in their order, and which cells did not."""

    by_cell: dict[str, T] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


class FanOut:
    def __init__(self, workers: int = 64) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="cells")

    def ask(self, conductors: Sequence[Conductor], question: Callable[[Conductor], T]) -> Answers[T]:
        """A cell that cannot be reached is missing from the answers; any other error is raised."""
        answers: Answers[T] = Answers()
        if len(conductors) == 1:
            _take(answers, conductors[0].cell_id, lambda: question(conductors[0]))
            return answers
        asked = [
            (conductor.cell_id, self._pool.submit(contextvars.copy_context().run, question, conductor))
            for conductor in conductors
        ]
        for cell_id, future in asked:
            _take(answers, cell_id, future.result)
        return answers

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _take(answers: Answers[T], cell_id: str, answer: Callable[[], T]) -> None:
    try:
        answers.by_cell[cell_id] = answer()
    except errors.Unavailable as error:
        if error.reason != "CELL_UNAVAILABLE":
            raise
        answers.missing.append(cell_id)
