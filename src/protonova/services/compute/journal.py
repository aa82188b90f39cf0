"""The agent's own memory: which operations it has seen, and how their steps ended here.

The hypervisor owns the truth about guests. The journal only lets the agent tell a caller that still holds its
operation from one that lost it (fencing), and answer a repeated step as it answered the first time. Losing the
file loses no guest: steps are then done again, and each of them looks before it acts.
"""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from protonova.compute.v1 import guest_pb2
from protonova.services.runtime import errors

_SCHEMA = """
CREATE TABLE IF NOT EXISTS servers (
    server_id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, seen_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS operations (
    operation_id TEXT PRIMARY KEY, generation INTEGER NOT NULL, seen_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outcomes (
    operation_id TEXT NOT NULL, step TEXT NOT NULL, outcome BLOB NOT NULL, seen_at REAL NOT NULL,
    PRIMARY KEY (operation_id, step)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS passes (
    server_id TEXT NOT NULL, label TEXT NOT NULL, digest BLOB NOT NULL, seen_at REAL NOT NULL,
    PRIMARY KEY (server_id, label)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS nodes (host TEXT PRIMARY KEY, node_id TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS marks (number INTEGER PRIMARY KEY, host TEXT NOT NULL, mark TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS servers_by_age ON servers (seen_at);
CREATE INDEX IF NOT EXISTS operations_by_age ON operations (seen_at);
CREATE INDEX IF NOT EXISTS outcomes_by_age ON outcomes (seen_at);
"""


class Journal:
    """One file, shared by the threads of one agent."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        # What the kernel holds survives a killed process; a lost power supply takes the guests along anyway.
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def admit(self, server_id: str, fence: guest_pb2.Fence) -> bytes | None:
        """Lets a call in, or raises `errors.FailedPrecondition` (FENCED) when a newer holder of the operation,
        or a newer operation on the server, has called before. Returns the outcome of this step if it ended."""
        if not fence.operation_id:
            raise errors.InvalidArgument("A call that changes a guest needs a fence.", reason="FENCE_MISSING")
        now = time.time()
        with self._lock, self._transaction():
            self._raise_to(
                "operations", "operation_id", "generation", fence.operation_id, fence.generation, now
            )
            if fence.sequence:
                self._raise_to("servers", "server_id", "sequence", server_id, fence.sequence, now)
            row = self._database.execute(
                "SELECT outcome FROM outcomes WHERE operation_id = ? AND step = ?",
                (fence.operation_id, fence.step),
            ).fetchone()
        return row[0] if row else None

    def still_held(self, fence: guest_pb2.Fence) -> bool:
        """Whether nobody newer has called since; asked by long steps between two effects."""
        with self._lock:
            row = self._database.execute(
                "SELECT generation FROM operations WHERE operation_id = ?", (fence.operation_id,)
            ).fetchone()
        return row is None or row[0] <= fence.generation

    def record(self, fence: guest_pb2.Fence, outcome: bytes) -> None:
        """Keeps how a step ended. Only successes are kept: what failed may be tried again."""
        with self._lock:
            self._database.execute(
                "INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?)",
                (fence.operation_id, fence.step, outcome, time.time()),
            )

    def keep_pass(self, server_id: str, label: str, password: str) -> None:
        """From now on whoever shows it may read the guest's files that are set aside under the label."""
        with self._lock:
            self._database.execute(
                "INSERT OR REPLACE INTO passes VALUES (?, ?, ?, ?)",
                (server_id, label, _digest(password), time.time()),
            )

    def knows_pass(self, server_id: str, label: str, password: str) -> bool:
        with self._lock:
            row = self._database.execute(
                "SELECT digest FROM passes WHERE server_id = ? AND label = ?", (server_id, label)
            ).fetchone()
        return bool(password) and row is not None and hmac.compare_digest(row[0], _digest(password))

    def forget_passes(self, server_id: str, label: str = "") -> None:
        with self._lock:
            self._database.execute(
                "DELETE FROM passes WHERE server_id = ? AND (label = ? OR ? = '')", (server_id, label, label)
            )

    def node_id(self, host: str, make: Callable[[], str] = lambda: str(uuid.uuid4())) -> str:
        """The UUID by which placement knows a host's node; made once and kept."""
        with self._lock, self._transaction():
            self._database.execute("INSERT OR IGNORE INTO nodes VALUES (?, ?)", (host, make()))
            row = self._database.execute("SELECT node_id FROM nodes WHERE host = ?", (host,)).fetchone()
        return str(row[0])

    def marks(self, host: str) -> list[str]:
        """What guests of a host were ever marked with, by order of the cell; the newest last."""
        with self._lock:
            rows = self._database.execute("SELECT mark FROM marks WHERE host = ? ORDER BY number", (host,))
            return [str(row[0]) for row in rows]

    def add_mark(self, host: str, mark: str) -> None:
        """Makes it the newest."""
        with self._lock, self._transaction():
            self._database.execute("DELETE FROM marks WHERE host = ? AND mark = ?", (host, mark))
            self._database.execute("INSERT INTO marks (host, mark) VALUES (?, ?)", (host, mark))

    def forget(self, older_than_seconds: float) -> int:
        """Drops what no living operation can ask for any more; returns how many records went."""
        edge = time.time() - older_than_seconds
        gone = 0
        with self._lock, self._transaction():
            for table in ("outcomes", "operations", "servers", "passes"):
                gone += self._database.execute(f"DELETE FROM {table} WHERE seen_at < ?", (edge,)).rowcount  # noqa: S608
        return gone

    def _raise_to(self, table: str, key: str, column: str, name: str, value: int, now: float) -> None:
        # The names come from this file; the values are bound.
        row = self._database.execute(f"SELECT {column} FROM {table} WHERE {key} = ?", (name,)).fetchone()  # noqa: S608
        if row and row[0] > value:
            raise errors.FailedPrecondition(
                f"{key} {name}: {column} {value} has been overtaken by {row[0]}.",
                reason="FENCED",
                seen=str(row[0]),
                given=str(value),
            )
        if not row or row[0] < value:
            self._database.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", (name, value, now))  # noqa: S608

    def _transaction(self) -> _Transaction:
        return _Transaction(self._database)


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode()).digest()


class _Transaction:
    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._database.execute("COMMIT" if kind is None else "ROLLBACK")
