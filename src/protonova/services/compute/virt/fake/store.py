"""Where the fake hypervisors of a process keep their guests, so that these survive a restart of the agent.

One SQLite file serves all hosts of a process. A host reads its guests once, when it is opened, and holds them
in memory; each change is one small statement, whatever the number of guests. A power failure of the machine
may cost the last changes: guests that exist only here are gone then anyway.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

from protonova.services.compute.virt.driver import PowerState

_SCHEMA = """
CREATE TABLE IF NOT EXISTS guests (
    host TEXT NOT NULL, server_id TEXT NOT NULL, name TEXT NOT NULL, hostname TEXT NOT NULL,
    power_state INTEGER NOT NULL, vcpus INTEGER NOT NULL, memory_mb INTEGER NOT NULL,
    disk_gb INTEGER NOT NULL, boots INTEGER NOT NULL, addresses TEXT NOT NULL,
    PRIMARY KEY (host, server_id)
) WITHOUT ROWID
"""


@dataclass
class Record:
    """One fake guest."""

    server_id: str
    name: str
    hostname: str
    power_state: PowerState
    vcpus: int
    memory_mb: int
    disk_gb: int
    boots: int = 0
    addresses: str = ""  # "fa:16:3e:…=10.0.0.5 …"


class Store:
    def __init__(self, path: str) -> None:
        self._guard = threading.Lock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute(_SCHEMA)

    def load(self, host: str) -> dict[str, Record]:
        with self._guard:
            rows = self._db.execute(
                "SELECT server_id, name, hostname, power_state, vcpus, memory_mb, disk_gb, boots, addresses"
                " FROM guests WHERE host = ?",
                (host,),
            ).fetchall()
        return {row[0]: Record(row[0], row[1], row[2], PowerState(row[3]), *row[4:]) for row in rows}

    def save(self, host: str, record: Record) -> None:
        with self._guard:
            self._db.execute(
                "INSERT OR REPLACE INTO guests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    host,
                    record.server_id,
                    record.name,
                    record.hostname,
                    int(record.power_state),
                    record.vcpus,
                    record.memory_mb,
                    record.disk_gb,
                    record.boots,
                    record.addresses,
                ),
            )

    def remove(self, host: str, server_id: str) -> None:
        with self._guard:
            self._db.execute("DELETE FROM guests WHERE host = ? AND server_id = ?", (host, server_id))

    def close(self) -> None:
        with self._guard:
            self._db.close()


class _Shared:
    """Stores by path, shared by the hosts of this process and closed with the last of them."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._open: dict[str, tuple[Store, int]] = {}

    def open(self, path: Path | None) -> tuple[str, Store]:
        key = ":memory:" if path is None else str(path.resolve())
        with self._guard:
            if path is None:
                return "", Store(key)
            store, users = self._open.get(key) or (None, 0)
            if store is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                store = Store(key)
            self._open[key] = (store, users + 1)
            return key, store

    def release(self, key: str, store: Store) -> None:
        with self._guard:
            if key:
                _, users = self._open[key]
                if users > 1:
                    self._open[key] = (store, users - 1)
                    return
                del self._open[key]
        store.close()


SHARED = _Shared()
