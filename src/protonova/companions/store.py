"""One SQLite file of one companion, and the only way to open transactions on it.

Writers begin IMMEDIATE, so a transaction sees no change between its reads and its writes, whichever process the
other writer lives in. The lock in this process only queues its own writers fairly (SQLite would make them poll);
what must be unique is unique by the schema.
"""

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Row = dict[str, Any]

# Readers beyond these are opened for one read and closed again; more than a few at once are rare under the GIL.
_READERS_KEPT = 3
# Of SQLite in this process, whatever the number of stores and connections.
_HEAP_BYTES = 8 * 1024 * 1024


def _as_dict(cursor: sqlite3.Cursor, values: tuple[Any, ...]) -> Row:
    return {column[0]: value for column, value in zip(cursor.description, values, strict=True)}


class Store:
    def __init__(self, path: Path, schema: str) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._readers: deque[sqlite3.Connection] = deque()
        self._turn = threading.Lock()
        self._writer = self._connect()
        self._writer.execute("PRAGMA journal_mode = WAL")
        with self._turn:
            self._writer.executescript(schema)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=15, isolation_level=None, check_same_thread=False, cached_statements=128
        )
        connection.row_factory = _as_dict
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -256")
        connection.execute(f"PRAGMA soft_heap_limit = {_HEAP_BYTES}")
        return connection

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on one snapshot of the data."""
        try:
            connection = self._readers.pop()
        except IndexError:
            connection = self._connect()
        try:
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                connection.execute("ROLLBACK")
        finally:
            if len(self._readers) < _READERS_KEPT:
                self._readers.append(connection)
            else:
                connection.close()

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in one transaction that commits when it returns and leaves nothing when it raises."""
        with self._turn:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                result = work(self._writer)
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
            return result

    def close(self) -> None:
        with self._turn:
            self._writer.close()
        while self._readers:
            self._readers.pop().close()


class Where:
    """Conditions of one statement. Column names come from code, never from a request; values are always bound."""

    def __init__(self, **equal: Any) -> None:
        self._parts: list[str] = []
        self.values: list[Any] = []
        for column, value in equal.items():
            self.equals(column, value)

    def equals(self, column: str, value: Any) -> "Where":
        return self.add(f'"{column}" IS ?', value)

    def among(self, column: str, values: Iterable[Any]) -> "Where":
        values = list(values)
        if len(values) == 1:
            return self.equals(column, values[0])
        marks = ", ".join("?" * len(values))
        return self.add(f'"{column}" IN ({marks})', *values)

    def add(self, condition: str, *values: Any) -> "Where":
        self._parts.append(f"({condition})")
        self.values.extend(values)
        return self

    @property
    def text(self) -> str:
        return f" WHERE {' AND '.join(self._parts)}" if self._parts else ""


# The statements below are put together from names written in this package; every value is a bound parameter.


def select(db: sqlite3.Connection, table: str, where: Where | None = None, tail: str = "") -> list[Row]:
    where = where or Where()
    return db.execute(f"SELECT * FROM {table}{where.text} {tail}", where.values).fetchall()  # noqa: S608


def find(db: sqlite3.Connection, table: str, **equal: Any) -> Row | None:
    where = Where(**equal)
    row: Row | None = db.execute(f"SELECT * FROM {table}{where.text}", where.values).fetchone()  # noqa: S608
    return row


def count(db: sqlite3.Connection, table: str, **equal: Any) -> int:
    where = Where(**equal)
    row = db.execute(f"SELECT count(*) AS n FROM {table}{where.text}", where.values).fetchone()  # noqa: S608
    return int(row["n"])


def insert(db: sqlite3.Connection, table: str, row: Mapping[str, Any], *, ignore: bool = False) -> int:
    verb = "INSERT OR IGNORE INTO" if ignore else "INSERT INTO"
    columns = ", ".join(f'"{name}"' for name in row)
    marks = ", ".join("?" * len(row))
    return db.execute(f"{verb} {table} ({columns}) VALUES ({marks})", list(row.values())).rowcount


def update(db: sqlite3.Connection, table: str, values: Mapping[str, Any], **equal: Any) -> int:
    """Change rows that still look as `equal` says; the count tells a caller whether it won."""
    if not values:
        return 0
    where = Where(**equal)
    changes = ", ".join(f'"{name}" = ?' for name in values)
    statement = f"UPDATE {table} SET {changes}{where.text}"  # noqa: S608
    return db.execute(statement, [*values.values(), *where.values]).rowcount


def delete(db: sqlite3.Connection, table: str, **equal: Any) -> int:
    where = Where(**equal)
    return db.execute(f"DELETE FROM {table}{where.text}", where.values).rowcount  # noqa: S608
