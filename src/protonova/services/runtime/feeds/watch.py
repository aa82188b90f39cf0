"""The owner's side of a watch: a snapshot, then every change, from the owner's own tables."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, overload

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.runtime.database import Database, now
from protonova.services.runtime.feeds import wake
from protonova.services.runtime.feeds.publish import FeedTables

_log = logging.getLogger("protonova.feeds")

V = TypeVar("V")
# A revision, and every key there was at it with its value. A value may be newer: then it is told once more, by a
# later revision.
Whole = tuple[int, Iterable[tuple[str, V]]]

_BATCH = 500
# How long a watcher whom nobody wakes waits before it looks for changes by itself.
_LOOK_SECONDS = 0.2
_LOOK_SECONDS_WHEN_TOLD = 2.0
_PRUNE_EVERY_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Change(Generic[V]):
    """A key with its value, or one that is deleted. `revision` is what a watcher may resume from; 0 within a
    snapshot, which has to be received whole."""

    revision: int
    key: str
    deleted: bool
    value: V | None


@dataclass(frozen=True, slots=True)
class SnapshotEnd:
    """All keys have been told; what a watcher knew besides them is gone. Comes only where a snapshot was
    made: a watcher that resumed gets what it missed and nothing else."""

    revision: int


class Feed(Generic[V]):
    """One topic. `load` reads the values of some keys; keys it does not return are told as deleted."""

    def __init__(
        self,
        db: Database,
        tables: FeedTables,
        topic: str,
        load: Callable[[Connection, list[str]], Mapping[str, V]],
        *,
        forget_seconds: float = 86400.0,
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        self.topic = topic
        self._db = db
        self._heads = tables.heads
        self._changes = tables.changes
        self._load = load
        self._forget_seconds = forget_seconds
        self._look_seconds = look_seconds
        self._prune_at = time.monotonic() + _PRUNE_EVERY_SECONDS
        self._lock = threading.Lock()
        # Many watchers of one topic look at the head once for all of them.
        self._head = 0
        self._told = -1
        self._looked_at = 0.0

    @overload
    def watch(
        self,
        from_revision: int,
        stop: threading.Event,
        alive: Callable[[], bool] = ...,
        whole: Callable[[int], Whole[V]] | None = ...,
    ) -> Iterator[Change[V] | SnapshotEnd]: ...

    @overload
    def watch(
        self,
        from_revision: int,
        stop: threading.Event,
        alive: Callable[[], bool] = ...,
        whole: Callable[[int], Whole[V]] | None = ...,
        *,
        pulse: Literal[True],
    ) -> Iterator[Change[V] | SnapshotEnd | None]: ...

    def watch(
        self,
        from_revision: int,
        stop: threading.Event,
        alive: Callable[[], bool] = lambda: True,
        whole: Callable[[int], Whole[V]] | None = None,
        *,
        pulse: bool = False,
    ) -> Iterator[Change[V] | SnapshotEnd | None]:
        """Everything from a revision on (0 = from a snapshot), until `stop` is set or `alive` (a call's
        `is_active`) says that nobody listens. `whole` makes the snapshot, of the head or of another revision,
        where that is cheaper than going through the keys. With `pulse` there is a None each time it has looked
        for changes, for watchers that have more to tell than the topic."""
        seen = from_revision
        head, pruned = self._db.read(self._read_head)
        if seen <= 0 or seen < pruned or seen > head:
            seen, values = (head, self._snapshot()) if whole is None else whole(head)
            for key, value in values:
                yield Change(0, key, False, value)
            yield SnapshotEnd(seen)
        while not stop.is_set() and alive():
            told = wake.count(self.topic)
            if self._look(seen):
                for change in self._since(seen):
                    seen = change.revision
                    yield change
                if pulse:
                    yield None
                continue
            if pulse:
                yield None
            self._prune_sometimes()
            wake.wait(self.topic, told, self._look_seconds)

    def head(self) -> int:
        """The newest revision."""
        return self._db.read(self._read_head)[0]

    def prune(self) -> int:
        """Forgets deletions older than `forget_seconds`; returns how many."""
        changes, heads = self._changes, self._heads
        old = sa.and_(
            changes.c.topic == self.topic,
            changes.c.deleted.is_(True),
            changes.c.changed_at < now() - int(self._forget_seconds * 1e6),
        )

        def forget(connection: Connection) -> int:
            last = connection.execute(sa.select(sa.func.max(changes.c.revision)).where(old)).scalar()
            if last is None:
                return 0
            connection.execute(heads.update().where(heads.c.topic == self.topic).values(pruned=last))
            return connection.execute(changes.delete().where(old, changes.c.revision <= last)).rowcount

        return self._db.write(forget)

    def _look(self, seen: int) -> bool:
        """Whether there is anything after a revision."""
        told = wake.count(self.topic)
        with self._lock:
            looked_at = time.monotonic()
            pause = _LOOK_SECONDS_WHEN_TOLD if wake.across_processes() else self._look_seconds
            if told != self._told or looked_at - self._looked_at >= pause:
                self._head = self._db.read(self._read_head)[0]
                self._looked_at, self._told = looked_at, told
            return self._head > seen

    def _read_head(self, connection: Connection) -> tuple[int, int]:
        heads = self._heads
        row = connection.execute(
            sa.select(heads.c.revision, heads.c.pruned).where(heads.c.topic == self.topic)
        ).first()
        return (0, 0) if row is None else (row.revision, row.pruned)

    def _snapshot(self) -> Iterator[tuple[str, V]]:
        after = ""
        while True:
            rows, values = self._page(after)
            for row in rows:
                if row.key in values:
                    yield row.key, values[row.key]
            if len(rows) < _BATCH:
                return
            after = rows[-1].key

    def _page(self, after: str) -> tuple[Sequence[Any], Mapping[str, V]]:
        """The next keys in their order, with their values."""
        changes = self._changes
        query = (
            sa.select(changes.c.key, changes.c.deleted)
            .where(changes.c.topic == self.topic, changes.c.key > after, changes.c.deleted.is_(False))
            .order_by(changes.c.key)
            .limit(_BATCH)
        )
        return self._db.read(lambda connection: self._with_values(connection, query))

    def _since(self, seen: int) -> Iterator[Change[V]]:
        while True:
            rows, values = self._after(seen)
            for row in rows:
                gone = row.deleted or row.key not in values
                yield Change(row.revision, row.key, gone, None if gone else values[row.key])
            if len(rows) < _BATCH:
                return
            seen = rows[-1].revision

    def _after(self, seen: int) -> tuple[Sequence[Any], Mapping[str, V]]:
        """The next changes in their order, with their values."""
        changes = self._changes
        query = (
            sa.select(changes.c.key, changes.c.revision, changes.c.deleted)
            .where(changes.c.topic == self.topic, changes.c.revision > seen)
            .order_by(changes.c.revision)
            .limit(_BATCH)
        )
        return self._db.read(lambda connection: self._with_values(connection, query))

    def _with_values(
        self, connection: Connection, query: sa.Select[Any]
    ) -> tuple[Sequence[Any], Mapping[str, V]]:
        rows = connection.execute(query).all()
        keys = [row.key for row in rows if not row.deleted]
        return rows, self._load(connection, keys) if keys else {}

    def _prune_sometimes(self) -> None:
        with self._lock:
            if time.monotonic() < self._prune_at:
                return
            self._prune_at = time.monotonic() + _PRUNE_EVERY_SECONDS
        forgotten = self.prune()
        if forgotten:
            _log.info("The feed of %s forgot %d deletions", self.topic, forgotten)
