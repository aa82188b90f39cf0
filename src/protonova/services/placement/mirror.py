"""Keeps the index current: own writes at once, those of other replicas from the feed of providers.

When a process starts, all providers are read in a few large pages; what changes meanwhile is told by the feed
afterwards. The mirror is also what the feed's readers elsewhere are served from: their snapshot is the index, and a
provider whose record in memory is as new as its row is not read again, so that a claim costs its watchers one
small query and no more.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence

from sqlalchemy.engine import Connection

from protonova.services.placement import loading, tables
from protonova.services.placement.index.index import Index, UsageChange
from protonova.services.placement.names import Vocabulary
from protonova.services.placement.records import ProviderRecord
from protonova.services.runtime import errors, feeds
from protonova.services.runtime.database import Database

LOG = logging.getLogger(__name__)

_PAUSE_AFTER_FAILURE = 0.5
# How often one looks for what other replicas wrote, where no Redis tells of it.
_LOOK_SECONDS = 0.1


class Mirror:
    """The index, and the threads that keep it."""

    def __init__(self, db: Database, vocabulary: Vocabulary) -> None:
        self.index = Index()
        self._db = db
        self._vocabulary = vocabulary
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._threads: list[threading.Thread] = []
        self._revision = 0
        # Held from reading a provider until the index has it: what was read before another change must not get
        # in after it, least of all bring back what is gone.
        self._changing = threading.Lock()
        self.feed: feeds.Feed[ProviderRecord] = feeds.Feed(
            db, tables.feed_tables, tables.PROVIDER_TOPIC, self._load, look_seconds=_LOOK_SECONDS
        )
        self._names: feeds.Feed[bool] = feeds.Feed(
            db, tables.feed_tables, tables.NAME_TOPIC, lambda _, keys: dict.fromkeys(keys, True)
        )

    def start(self) -> None:
        """Builds the index; returns when it is whole."""
        for name, follow in (("providers", self._follow_providers), ("names", self._follow_names)):
            thread = threading.Thread(target=self._keep, args=(follow,), name=f"feed-{name}", daemon=True)
            thread.start()
            self._threads.append(thread)
        self._ready.wait()

    def stop(self) -> None:
        self._stop.set()
        self._ready.set()
        for thread in self._threads:
            thread.join(5)

    def refresh(self, ids: Iterable[str]) -> None:
        """Takes over what a committed write of our own made of providers."""
        wanted = list(ids)
        if not wanted:
            return
        with self._changing:
            found = self._db.read(lambda connection: loading.load(connection, wanted))
            for provider in wanted:
                if provider in found:
                    self.index.apply(found[provider])
                else:
                    self.index.remove(provider)

    def adopt(self, changes: Iterable[UsageChange]) -> None:
        """The same for a write of allocations, which knows what it made of the usages."""
        self.refresh(self.index.adopt(changes))

    def whole(self, head: int) -> feeds.Whole[ProviderRecord]:
        """A snapshot of the feed from memory. It is of the revision up to which the index has followed, which is
        read first: records that change afterwards are told again."""
        revision = min(self._revision, head)
        return revision, ((record.id, record) for record in self.index.records())

    def _load(self, connection: Connection, keys: Sequence[str]) -> dict[str, ProviderRecord]:
        found: dict[str, ProviderRecord] = {}
        behind: list[str] = []
        for key, order in loading.orders(connection, keys).items():
            known = self.index.get(key)
            if known is not None and known.order >= order:
                found[key] = known
            else:
                behind.append(key)
        found.update(loading.load(connection, behind))
        return found

    def _keep(self, follow: Callable[[], None]) -> None:
        while not self._stop.is_set():
            try:
                follow()
            except errors.Error as error:
                LOG.warning("Following a feed: %s", error)
            except Exception:
                # An index that nobody keeps would be wrong for ever, and nobody would know.
                LOG.exception("Following a feed failed unexpectedly")
            self._stop.wait(_PAUSE_AFTER_FAILURE)

    def _follow_providers(self) -> None:
        told: set[str] = set()
        for change in self.feed.watch(self._revision, self._stop, whole=self._read_all):
            if isinstance(change, feeds.SnapshotEnd):
                self.refresh(set(self.index.ids()) - told)
                told.clear()
                self._ready.set()
                LOG.info("The index holds %d resource providers", len(self.index))
            elif change.deleted or change.value is None:
                self.refresh([change.key])  # it may be there again already
            else:
                with self._changing:
                    self.index.apply(change.value)
                if not change.revision:
                    told.add(change.key)
            self._revision = change.revision or self._revision

    def _read_all(self, head: int) -> feeds.Whole[ProviderRecord]:
        return head, ((record.id, record) for record in loading.everything(self._db))

    def _follow_names(self) -> None:
        for change in self._names.watch(0, self._stop):
            if not isinstance(change, feeds.SnapshotEnd):
                self._vocabulary.reload()
