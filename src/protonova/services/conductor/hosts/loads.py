"""What runs on each host of the cell, counted as its servers change.

The servers' rows own the facts; this is an index of them in memory, made from the cell's own server feed. It is
started by the first who asks and is beside a build's way: a few times a second the servers that changed are looked
up, each is taken off one host's counts and put onto another's, however many servers the hosts have. It is at most
half a second behind. Builds that a host refused are a column of its row, read along with the changes.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import Server, TaskState, VmState
from protonova.conductor.v1.host_pb2 import HostLoad
from protonova.services.conductor import tables
from protonova.services.conductor.hosts.store import Hosts
from protonova.services.conductor.tables import servers
from protonova.services.runtime import errors
from protonova.services.runtime.database import Database
from protonova.services.runtime.feeds import Feed, SnapshotEnd

_log = logging.getLogger("protonova.conductor.loads")

_LOOK_SECONDS = 0.25
_PAUSE_SECONDS = 1.0
_CHUNK = 500
_HOLDS_NOTHING = frozenset({VmState.VM_STATE_SHELVED_OFFLOADED, VmState.VM_STATE_DELETED})
# Servers at work on the disks or the network of their host.
_BUSY = frozenset(
    {
        TaskState.TASK_STATE_RESIZE_PREP,
        TaskState.TASK_STATE_RESIZE_MIGRATING,
        TaskState.TASK_STATE_REBUILDING,
        TaskState.TASK_STATE_IMAGE_SNAPSHOT,
        TaskState.TASK_STATE_IMAGE_BACKUP,
        TaskState.TASK_STATE_RESCUING,
        TaskState.TASK_STATE_UNSHELVING,
    }
)


@dataclass(frozen=True, slots=True)
class Counted:
    """What of a server counts for its host. `image_properties` are "name=value"."""

    host: str
    busy: bool
    flavor_id: str
    image_id: str
    image_properties: tuple[str, ...] = ()


@dataclass(slots=True)
class _Load:
    servers: int = 0
    busy: int = 0
    failed_builds: int = 0
    flavors: Counter[str] = field(default_factory=Counter)
    image_properties: Counter[str] = field(default_factory=Counter)
    changed: int = 0


class LoadIndex:
    """The counts by host. Changes are numbered, so that each watcher asks for those it has not seen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._servers: dict[str, Counted] = {}
        # Those that changed last stand last.
        self._loads: dict[str, _Load] = {}
        self._changes = 0

    def known(self, server_id: str) -> Counted | None:
        return self._servers.get(server_id)

    def put(self, server_id: str, now: Counted | None) -> None:
        """A server as it is, or None when it is on no host any more."""
        with self._lock:
            before = self._servers.get(server_id)
            if before == now:
                return
            if before is not None:
                self._count(before, -1)
            if now is None:
                del self._servers[server_id]
            else:
                self._servers[server_id] = now
                self._count(now, 1)

    def keep(self, server_ids: Iterable[str]) -> None:
        """After a snapshot: these are all there are."""
        for gone in self._servers.keys() - set(server_ids):
            self.put(gone, None)

    def refused(self, failed_builds: Mapping[str, int]) -> None:
        """Builds in a row that hosts refused, of all hosts that did."""
        with self._lock:
            stale = {host for host, load in self._loads.items() if load.failed_builds}
            for host in stale | failed_builds.keys():
                count = failed_builds.get(host, 0)
                if self._loads.get(host, _NOTHING).failed_builds != count:
                    self._changing(host).failed_builds = count

    def since(self, seen: int) -> tuple[int, dict[str, HostLoad]]:
        """The number of the newest change, and the loads of the hosts that changed after `seen`, by host; without
        their node's id."""
        with self._lock:
            found: dict[str, HostLoad] = {}
            for host, load in reversed(self._loads.items()):
                if load.changed <= seen:
                    break
                found[host] = HostLoad(
                    servers=load.servers,
                    io_operations=load.busy,
                    failed_builds=load.failed_builds,
                    flavors=load.flavors,
                    image_properties=load.image_properties,
                )
            return self._changes, found

    def _count(self, server: Counted, sign: int) -> None:
        load = self._changing(server.host)
        load.servers += sign
        load.busy += sign * server.busy
        for counts, keys in (
            (load.flavors, (server.flavor_id,)),
            (load.image_properties, server.image_properties),
        ):
            for key in keys:
                counts[key] += sign
                if not counts[key]:
                    del counts[key]

    def _changing(self, host: str) -> _Load:
        load = self._loads.pop(host, None) or _Load()
        self._changes += 1
        load.changed = self._changes
        self._loads[host] = load
        return load


_NOTHING = _Load()


class HostLoads:
    """Keeps an index current from its first use on."""

    def __init__(self, db: Database, hosts: Hosts, stopping: threading.Event) -> None:
        self._db = db
        self._hosts = hosts
        self._stopping = stopping
        self._index = LoadIndex()
        self._whole = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._feed = Feed(db, tables.feed_tables, tables.SERVER_TOPIC, self._read, look_seconds=_LOOK_SECONDS)

    def ready(self, alive: Callable[[], bool]) -> bool:
        """Waits until everything is counted; False when nobody waits any more."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="host-loads", daemon=True)
                self._thread.start()
        while not self._whole.wait(0.05):
            if self._stopping.is_set() or not alive():
                return False
        return True

    def since(self, seen: int) -> tuple[int, dict[str, HostLoad]]:
        return self._index.since(seen)

    def stop(self) -> None:
        """The event it was given is set already."""
        if self._thread is not None:
            self._thread.join(_PAUSE_SECONDS)

    def _run(self) -> None:
        revision = 0
        while not self._stopping.is_set():
            try:
                revision = self._follow(revision)
            except errors.Error as error:
                _log.info("The load of the hosts is not counted just now: %s", error)
                self._stopping.wait(_PAUSE_SECONDS)

    def _follow(self, revision: int) -> int:
        """Until the end, or an error; returns from where to go on."""
        told: set[str] = set()
        behind = True
        for change in self._feed.watch(revision, self._stopping, pulse=True):
            if change is None:
                if behind:
                    self._index.refused(self._db.read(self._hosts.failed_builds))
                    self._whole.set()
                    behind = False
                # What changes meanwhile is read together, and each server once: many boots cost hardly more than
                # one.
                self._stopping.wait(_LOOK_SECONDS)
                continue
            behind = True
            if isinstance(change, SnapshotEnd):
                self._index.keep(told)
                told.clear()
            else:
                told.add(change.key)
                self._index.put(change.key, change.value)
            revision = change.revision or revision
        return revision

    def _read(self, connection: Connection, server_ids: list[str]) -> dict[str, Counted]:
        """Servers that are on a host. Records are read of those only whose image is not known already."""
        found: dict[str, Counted] = {}
        unread: list[str] = []
        query = sa.select(
            servers.c.id,
            servers.c.host,
            servers.c.vm_state,
            servers.c.task_state,
            servers.c.flavor_id,
            servers.c.image_id,
        ).where(servers.c.id.in_(server_ids), servers.c.deleted_at == 0, servers.c.host != "")
        for row in connection.execute(query):
            if row.vm_state in _HOLDS_NOTHING:
                continue
            known = self._index.known(row.id)
            if known is None or known.image_id != row.image_id:
                unread.append(row.id)
            busy = row.vm_state == VmState.VM_STATE_BUILDING or row.task_state in _BUSY
            properties = () if known is None else known.image_properties
            found[row.id] = Counted(row.host, busy, row.flavor_id, row.image_id, properties)
        for start in range(0, len(unread), _CHUNK):
            some = servers.c.id.in_(unread[start : start + _CHUNK])
            for server_id, record in connection.execute(
                sa.select(servers.c.id, servers.c.record).where(some)
            ):
                image = Server.FromString(record).image
                texts = tuple(sorted(f"{name}={value}" for name, value in image.properties.items()))
                found[server_id] = replace(found[server_id], image_properties=texts)
        return found
