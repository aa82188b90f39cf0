"""A service's database: SQLite, PostgreSQL or MariaDB behind two doors, `read` and `write`.

`write` is the only way to change anything: it begins a transaction, runs the caller's function in it,
commits, and does all of it again when the database says that somebody else was faster. Writers run at READ
COMMITTED (every change is a compare-and-set, which must see the newest row); readers see one snapshot. Times
are integers, microseconds since the epoch, by the database's clock (`now`).
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Connection, Engine, Transaction, make_url
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from protonova.services.runtime import errors, mariadb, telemetry

T = TypeVar("T")

_SLOWEST_PAUSE = 0.5
_RETRIES = 8
# What the databases say when another transaction won, or was waited for too long.
_POSTGRESQL_STATES = frozenset({"40001", "40P01"})
_MARIADB_NUMBERS = frozenset({1213, 1205, 1020})
# … and when this server is none that takes changes (any more): ended by an administrator, starting, a
# standby; shutting down, read-only, not part of its cluster.
_POSTGRESQL_AWAY = frozenset({"57P01", "57P02", "57P03", "53300"})
_MARIADB_AWAY = frozenset({1053, 1290, 1836, 1047, 1040})
_MARIADB_CLOCK = "SET time_zone = '+00:00'"
_PRAGMAS = ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON", "busy_timeout = 10000")


class DatabaseUnavailable(errors.Unavailable):
    """This process's own database does not answer. Over the wire it is `errors.Unavailable`, as any other."""


class Database:
    """One database and its connections; opened when first used, so a process may fork before."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        max_overflow: int = 40,
        pool_timeout: float = 30,
        metadata: sa.MetaData | None = None,
    ) -> None:
        parsed = make_url(url)
        self.url = url
        self.metadata = metadata
        self._local = threading.local()
        self.dialect = {"mariadb": "mysql"}.get(parsed.get_backend_name(), parsed.get_backend_name())
        common: dict[str, Any] = {
            "json_serializer": _to_json,
            "json_deserializer": orjson.loads,
            # Both doors always end what they began, so there is nothing to reset.
            "pool_reset_on_return": None,
            "pool_timeout": pool_timeout,
        }
        if self.dialect == "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise errors.InvalidArgument(
                    "An SQLite database must be a file.", reason="DATABASE_URL_INVALID"
                )
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            pool = {"poolclass": sa.QueuePool, "connect_args": {"timeout": 10, "check_same_thread": False}}
            # One writing connection: writers queue here rather than sleep in the file's lock.
            self._writer = sa.create_engine(parsed, **common, **pool, pool_size=1, max_overflow=0)
            self._reader = sa.create_engine(
                parsed, **common, **pool, pool_size=pool_size, max_overflow=max_overflow
            )
            _prepare_sqlite(self._writer, "BEGIN IMMEDIATE")
            _prepare_sqlite(self._reader, "BEGIN", read_only=True)
            return
        if self.dialect not in ("postgresql", "mysql"):
            raise errors.InvalidArgument(
                f"Databases of kind {self.dialect} are not served.", reason="DATABASE_URL_INVALID"
            )
        sizes = {"pool_size": pool_size, "max_overflow": max_overflow, "pool_recycle": 3600}
        connect: dict[str, Any]
        if self.dialect == "mysql":
            connect = {"connect_timeout": 10, "charset": "utf8mb4", "init_command": _MARIADB_CLOCK}
        else:
            # A database made without a locale would hand out bytes for text.
            connect = {"connect_timeout": 10, "client_encoding": "utf8"}
        self._writer = sa.create_engine(
            parsed, **common, **sizes, connect_args=connect, isolation_level="READ COMMITTED"
        )
        self._reader = sa.create_engine(
            parsed, **common, **sizes, connect_args=connect, isolation_level="REPEATABLE READ"
        )
        _prepare_reader(self._reader)
        if self.dialect == "mysql":
            mariadb.prepare(self._writer)
            mariadb.prepare(self._reader)

    @classmethod
    def of(cls, options: Any, metadata: sa.MetaData | None = None) -> Database:
        """From an option group such as `conf.database`."""
        return cls(
            options.connection,
            pool_size=options.pool_size,
            max_overflow=options.max_overflow,
            pool_timeout=options.pool_timeout,
            metadata=metadata,
        )

    def write(self, fn: Callable[[Connection], T], *, retries: int = _RETRIES) -> T:
        """Runs `fn` in one transaction and commits; may run it several times, so it must only touch the
        database. Raises what `fn` raises; `errors.Unavailable` when the database does not answer (reason
        DATABASE_COMMIT_UNKNOWN when it went away during the commit: the change may or may not be there)."""
        if getattr(self._local, "writing", False):
            # It would wait for itself where there is one writer, and commit apart from the outer one elsewhere.
            raise RuntimeError("A transaction must not begin another one.")
        self._local.writing = True
        try:
            return self._attempt(self._writer, fn, retries, writing=True)
        finally:
            self._local.writing = False

    def read(self, fn: Callable[[Connection], T], *, retries: int = _RETRIES) -> T:
        """Runs `fn` on one snapshot, which it cannot change."""
        return self._attempt(self._reader, fn, retries, writing=False)

    def now(self) -> sa.ColumnElement[int]:
        """The database's clock, as an SQL expression."""
        return now()

    def close(self) -> None:
        self._writer.dispose()
        self._reader.dispose()

    def describe(self) -> str:
        """For the state report."""
        shown = make_url(self.url).render_as_string(hide_password=True)
        return f"{shown}; writers: {self._writer.pool.status()}; readers: {self._reader.pool.status()}"

    def _attempt(self, engine: Engine, fn: Callable[[Connection], T], retries: int, *, writing: bool) -> T:
        pause = 0.01
        while True:
            try:
                return _once(engine, fn, writing)
            except _AgainError as again:
                retries -= 1
                if retries < 0:
                    raise DatabaseUnavailable(again.message, reason=again.reason) from again.__cause__
                telemetry.TRANSACTION_RETRIES.labels(again.reason).inc()
            # Jitter keeps those who collided from colliding again.
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            pause = min(pause * 2, _SLOWEST_PAUSE)


class _AgainError(Exception):
    """The transaction did not happen and may be tried again."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def _once(engine: Engine, fn: Callable[[Connection], T], writing: bool) -> T:
    try:
        connection = engine.connect()
    except sa.exc.TimeoutError as error:
        raise DatabaseUnavailable(
            "All connections to the database are in use.", reason="DATABASE_BUSY"
        ) from error
    except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
        raise _AgainError("DATABASE_UNAVAILABLE", "The database cannot be reached.") from error
    committing = False
    try:
        transaction = connection.begin()
        try:
            result = fn(connection)
            committing = True
            transaction.commit()
        except BaseException:
            _roll_back(connection, transaction)
            raise
        actions = _after_commit.pop(connection, ())
    except (sa.exc.DBAPIError, sqlite3.OperationalError) as error:
        judged = _judged(error, committing, writing)
        if isinstance(judged, _AgainError) and judged.reason == "DATABASE_UNAVAILABLE":
            connection.invalidate()
        raise judged from error
    finally:
        _after_commit.pop(connection, None)
        connection.close()
    for action in actions:
        action()
    return result


_after_commit: dict[Connection, list[Callable[[], object]]] = {}


def after_commit(connection: Connection, action: Callable[[], object]) -> None:
    """Calls `action` when the transaction has committed, and never if it does not. It must be quick and not
    fail: it is for waking others, not for anything that has to happen."""
    _after_commit.setdefault(connection, []).append(action)


def _roll_back(connection: Connection, transaction: Transaction) -> None:
    try:
        if transaction.is_active:
            transaction.rollback()
    except sa.exc.DBAPIError:
        connection.invalidate()
    if not connection.invalidated and connection.in_transaction():
        connection.invalidate()


def _judged(
    error: sa.exc.DBAPIError | sqlite3.OperationalError, committing: bool, writing: bool
) -> Exception:
    """What an error of the database means: try again, not reachable, or the caller's own (as it is)."""
    orig = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    if isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated:
        if committing and writing:
            return DatabaseUnavailable(
                "The database went away during a commit.", reason="DATABASE_COMMIT_UNKNOWN"
            )
        return _AgainError("DATABASE_UNAVAILABLE", "The connection to the database was lost.")
    if isinstance(orig, sqlite3.Error):
        if (getattr(orig, "sqlite_errorcode", 0) & 0xFF) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return _AgainError("DATABASE_BUSY", "The database is locked by another process.")
        return error
    state = getattr(orig, "sqlstate", None)
    number = orig.args[0] if orig is not None and orig.args else None
    if state in _POSTGRESQL_STATES or number in _MARIADB_NUMBERS:
        return _AgainError("DATABASE_CONFLICT", "Other transactions kept getting in the way.")
    # A server that was the primary until just now; through the reading door it is the caller's mistake.
    standby = writing and (state == "25006" or number == 1792)
    if standby or state in _POSTGRESQL_AWAY or number in _MARIADB_AWAY:
        return _AgainError("DATABASE_UNAVAILABLE", "The database does not take changes now.")
    return error


# ---- helpers that differ by dialect ------------------------------------------------------------------------


class now(FunctionElement[int]):
    """Microseconds since the epoch, by the database's clock."""

    type = sa.BigInteger()
    inherit_cache = True


@compiles(now, "sqlite")
def _now_sqlite(_element: now, _compiler: Any, **_: Any) -> str:
    return "protonova_now()"


@compiles(now, "postgresql")
def _now_postgresql(_element: now, _compiler: Any, **_: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"


@compiles(now, "mysql")
@compiles(now, "mariadb")
def _now_mysql(_element: now, _compiler: Any, **_: Any) -> str:
    return "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)"


def insert_ignore(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts rows, passing over those whose key is there already."""
    if not rows:
        return
    statement: Any
    if connection.dialect.name == "postgresql":
        statement = postgresql.insert(table).on_conflict_do_nothing()
    elif connection.dialect.name == "sqlite":
        statement = sqlite.insert(table).on_conflict_do_nothing()
    else:
        key = next(iter(table.primary_key.columns))
        statement = mysql.insert(table).on_duplicate_key_update({key.name: key})
    if any(isinstance(value, sa.ClauseElement) for row in rows for value in row.values()):
        connection.execute(statement.values(list(rows)))
    else:
        connection.execute(statement, list(rows))


def upsert(
    connection: Connection,
    table: sa.Table,
    row: Mapping[str, Any],
    keys: Sequence[str],
    update: Mapping[str, Any] | None = None,
) -> None:
    """Inserts a row; where one with the same `keys` (a unique key) is there, changes it to the row's values,
    or to `update` where given (values or SQL expressions)."""
    statement: Any
    others = [name for name in row if name not in keys]
    if connection.dialect.name in ("postgresql", "sqlite"):
        dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
        statement = dialect.insert(table).values(dict(row))
        change = {name: statement.excluded[name] for name in others} if update is None else dict(update)
        if change:
            statement = statement.on_conflict_do_update(index_elements=list(keys), set_=change)
        else:
            statement = statement.on_conflict_do_nothing(index_elements=list(keys))
    else:
        statement = mysql.insert(table).values(dict(row))
        change = {name: statement.inserted[name] for name in others} if update is None else dict(update)
        statement = statement.on_duplicate_key_update(change or {keys[0]: table.c[keys[0]]})
    connection.execute(statement)


def _to_json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _prepare_sqlite(engine: Engine, begin: str, *, read_only: bool = False) -> None:
    @sa.event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where we say
        connection.create_function("protonova_now", 0, _clock)
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        if read_only:
            connection.execute("PRAGMA query_only = ON")

    @sa.event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.connection.driver_connection.execute(begin)  # type: ignore[union-attr]


def _prepare_reader(engine: Engine) -> None:
    @sa.event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: object) -> None:
        if engine.dialect.name == "postgresql":
            connection.read_only = True
        else:
            connection.query("SET SESSION TRANSACTION READ ONLY")


def _clock() -> int:
    return time.time_ns() // 1000
