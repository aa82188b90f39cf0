"""Lets claims that come at the same time share one transaction.

One caller at a time leads: it takes the claims that wait, its own among them, through the protocol of `writing` in
one transaction, and hands each caller its own outcome. A claim that is refused does not hinder the others, as the
ledger refuses before anything is written. Nothing is protected by this: other replicas do the same meanwhile,
and the database decides.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.placement import refusals, rows
from protonova.services.placement.claims import writing
from protonova.services.placement.claims.change import Claim
from protonova.services.placement.index.index import UsageChange
from protonova.services.placement.names import Vocabulary
from protonova.services.runtime import errors
from protonova.services.runtime.database import Database

_MOST_CHANGES = 200


@dataclass(slots=True, eq=False)
class _Waiting:
    """A claim whose caller waits for its outcome."""

    claim: Claim
    done: bool = False
    error: Exception | None = None


class Combiner:
    """`adopt` is told what became of usages, before the callers go on. `attempts` bounds how often a transaction
    that others keep getting ahead of is done again."""

    def __init__(
        self,
        db: Database,
        vocabulary: Vocabulary,
        adopt: Callable[[Iterable[UsageChange]], None],
        *,
        attempts: int,
    ) -> None:
        self._db = db
        self._vocabulary = vocabulary
        self._adopt = adopt
        self._attempts = attempts
        self._turn = threading.Condition()
        self._led = False
        self._waiting: deque[_Waiting] = deque()

    def submit(self, claim: Claim) -> None:
        """Returns when the claim is committed. Raises what refuses it."""
        own = _Waiting(claim)
        with self._turn:
            self._waiting.append(own)
            while self._led and not own.done:
                self._turn.wait()
            if not own.done:
                self._led = True
        if not own.done:
            self._lead(own)
        if own.error is not None:
            raise own.error

    def _lead(self, own: _Waiting) -> None:
        try:
            while not own.done:
                with self._turn:
                    batch = self._take()
                self._carry_out(batch)
                with self._turn:
                    for waiting in batch:
                        waiting.done = True
                    self._turn.notify_all()
        finally:
            with self._turn:
                self._led = False
                self._turn.notify_all()

    def _take(self) -> list[_Waiting]:
        """The claims next in line, as far as they concern different consumers."""
        batch: list[_Waiting] = []
        left: deque[_Waiting] = deque()
        consumers: set[str] = set()
        while self._waiting:
            waiting = self._waiting.popleft()
            own = {change.consumer_id for change in waiting.claim}
            if batch and (own & consumers or len(own) + len(consumers) > _MOST_CHANGES):
                left.append(waiting)
            else:
                batch.append(waiting)
            consumers |= own  # one left behind keeps its place before a later one of the same consumer
        self._waiting = left
        return batch

    def _carry_out(self, batch: list[_Waiting]) -> None:
        try:
            self._commit(batch)
        except Exception as error:  # noqa: BLE001 - each caller gets it
            if len(batch) == 1 or isinstance(error, errors.Unavailable):
                for waiting in batch:
                    waiting.error = error
                return
            for waiting in batch:
                self._carry_out([waiting])

    def _commit(self, batch: list[_Waiting]) -> None:
        for _ in range(self._attempts):
            try:
                changes, refused = self._db.write(lambda connection: self._transaction(connection, batch))
            except (writing.StaleError, sa.exc.IntegrityError):
                continue
            self._adopt(changes)
            for waiting, error in zip(batch, refused, strict=True):
                waiting.error = error
            return
        raise refusals.contended()

    def _transaction(
        self, connection: Connection, batch: list[_Waiting]
    ) -> tuple[list[UsageChange], list[errors.Error | None]]:
        page = writing.read(connection, self._vocabulary, [waiting.claim for waiting in batch])
        refused: list[errors.Error | None] = []
        for waiting in batch:
            try:
                page.enter(waiting.claim)
            except errors.Error as error:
                refused.append(error)
            else:
                refused.append(None)
        if any(error is not None and error.reason == "CAPACITY_EXCEEDED" for error in refused):
            writing.check_absent(connection, page)
        changes = writing.write(connection, page)
        if changes:
            rows.tell(connection, [change.provider_id for change in changes])
        return changes, refused
