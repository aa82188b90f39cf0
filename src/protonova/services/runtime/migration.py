"""Brings a database's schema up to date: one directory of alembic revisions per service.

A service that starts asks for its revision by one query; alembic itself is loaded only where something is to
be done. The directory is `<service>/migrations/versions/`, its files `<number>_<what>.py` with `revision =
"<number>"`; the highest number is the head. No env.py is needed: this module is the environment of all of
them.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.runtime.database import Database

_log = logging.getLogger("protonova.migration")
_REVISION_FILE = re.compile(r"^(\d+)_\w+\.py$")
_VERSION = sa.text("SELECT version_num FROM alembic_version")
# Any number, the same for every replica.
_LOCK = 0x70726F746F


def upgrade(db: Database, package: str | ModuleType) -> bool:
    """Applies the revisions of `package` (e.g. "protonova.services.api.migrations") that the database lacks;
    whether there were any."""
    directory = _location(package)
    wanted = head(package)
    if current(db) == wanted:
        return False
    return db.write(lambda connection: _migrate(connection, directory, wanted))


def upgrade_apart(options: Any, package: str | ModuleType) -> None:
    """Like `upgrade`, of the database in an option group, in a child process: alembic and the statements of all
    revisions take more memory than the rest of a service that has just started, which would keep it to its end.

    For a process without threads yet. Whatever goes wrong is left to the `upgrade` that follows in the service.
    """
    if not options.sync_on_startup:
        return
    db = Database.of(options)
    try:
        lacking = current(db) != head(package)
    finally:
        db.close()
    if not lacking:
        return
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        upgrade(Database.of(options), package)
    finally:
        os._exit(0)


def current(db: Database) -> str | None:
    """The revision a database is at; None = an empty one."""
    try:
        return db.read(lambda connection: connection.execute(_VERSION).scalar())
    except (sa.exc.ProgrammingError, sa.exc.OperationalError):
        return None


def head(package: str | ModuleType) -> str:
    """The newest revision there is."""
    files = (_location(package) / "versions").iterdir()
    return max(match[1] for file in files if (match := _REVISION_FILE.match(file.name)))


def _migrate(connection: Connection, directory: Path, wanted: str) -> bool:
    _lock(connection)
    try:
        found = None
        if sa.inspect(connection).has_table("alembic_version"):
            found = connection.execute(_VERSION).scalar()
        if found == wanted:  # another replica was faster
            return False
        _log.info("Bringing the schema from revision %s to %s", found, wanted)
        _run(connection, directory, wanted)
        return True
    finally:
        _unlock(connection)


def _run(connection: Connection, directory: Path, wanted: str) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(directory).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    environment = EnvironmentContext(
        config, script, fn=lambda at, _context: script._upgrade_revs(wanted, at), destination_rev=wanted
    )
    with environment:
        environment.configure(connection=connection, render_as_batch=connection.dialect.name == "sqlite")
        with environment.begin_transaction():
            environment.run_migrations()


def _lock(connection: Connection) -> None:
    """One replica migrates at a time. An SQLite writer is alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
    elif connection.dialect.name != "sqlite":
        # Schema changes of MariaDB end the transaction, so the lock is the session's.
        connection.execute(sa.text("SELECT GET_LOCK(CONCAT(DATABASE(), '.migration'), 600)"))


def _unlock(connection: Connection) -> None:
    if connection.dialect.name not in ("postgresql", "sqlite"):
        # Whoever gets the lock next must find the revision's row.
        connection.execute(sa.text("COMMIT"))
        connection.execute(sa.text("SELECT RELEASE_LOCK(CONCAT(DATABASE(), '.migration'))"))


def _location(package: str | ModuleType) -> Path:
    module = importlib.import_module(package) if isinstance(package, str) else package
    return Path(next(iter(module.__path__)))
