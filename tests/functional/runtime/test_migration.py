"""Migrations: applied once, by one replica, and not even looked for when there is nothing to do."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest
import sqlalchemy as sa

from protonova.services.runtime import migration
from protonova.services.runtime.database import Database

_FIRST = '''
"""A table."""
import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table("things", sa.Column("id", sa.Integer, primary_key=True))
'''
_SECOND = '''
"""A column."""
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("things") as table:
        table.add_column(sa.Column("name", sa.String(10)))
'''


@pytest.fixture
def package(tmp_path: Path) -> ModuleType:
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    (versions / "0001_a_table.py").write_text(_FIRST)
    module = ModuleType("migrations")
    module.__path__ = [str(tmp_path / "migrations")]
    return module


def _add_second(package: ModuleType) -> None:
    (Path(package.__path__[0]) / "versions" / "0002_a_column.py").write_text(_SECOND)


def test_what_is_missing_is_applied(database_url: str, package: ModuleType) -> None:
    db = Database(database_url)
    assert migration.current(db) is None
    assert migration.upgrade(db, package)
    assert migration.current(db) == "0001"
    assert not migration.upgrade(db, package)
    _add_second(package)
    assert migration.upgrade(db, package)
    assert migration.current(db) == "0002"
    db.write(lambda c: c.execute(sa.text("INSERT INTO things (id, name) VALUES (1, 'x')")))
    db.close()


def test_replicas_that_start_together_migrate_once(database_url: str, package: ModuleType) -> None:
    _add_second(package)
    replicas = [Database(database_url) for _ in range(8)]
    applied: list[bool] = []
    threads = [
        threading.Thread(target=lambda db=db: applied.append(migration.upgrade(db, package)))
        for db in replicas
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(applied) == [False] * 7 + [True]
    for db in replicas:
        assert migration.current(db) == "0002"
        db.close()


def test_mariadb_unlocks_what_others_can_see(mariadb_url: str, package: ModuleType) -> None:
    """The lock there is the session's, not the transaction's: it must not go before the revision's row is
    committed."""
    other = Database(mariadb_url)
    seen: list[str | None] = []

    def look(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "RELEASE_LOCK" in statement:
            seen.append(migration.current(other))

    db = Database(mariadb_url)
    sa.event.listen(sa.Engine, "before_cursor_execute", look)
    try:
        assert migration.upgrade(db, package)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", look)
    assert seen == ["0001"]
    db.close()
    other.close()


def test_a_service_does_not_keep_what_migrations_need(database_url: str, package: ModuleType) -> None:
    """Three starts in processes of their own: into an empty database, with nothing to do, and not asked to."""
    code = f"""
import sys
from types import ModuleType, SimpleNamespace
from protonova.services.runtime import database, migration
package = ModuleType("migrations")
package.__path__ = [{package.__path__[0]!r}]
options = SimpleNamespace(
    connection={database_url!r}, pool_size=1, max_overflow=1, pool_timeout=10,
    sync_on_startup=sys.argv[1] == "yes"
)
migration.upgrade_apart(options, package)
assert "alembic" not in sys.modules
print(migration.current(database.Database({database_url!r})))
"""

    def start(asked: str) -> str:
        command = [sys.executable, "-c", code, asked]
        ended = subprocess.run(
            command, check=True, timeout=60, env={"PYTHONPATH": "src"}, capture_output=True, text=True
        )
        return ended.stdout.strip()

    assert [start("no"), start("yes"), start("yes")] == ["None", "0001", "0001"]
    _add_second(package)
    assert [start("no"), start("yes")] == ["0001", "0002"]


def test_a_start_with_nothing_to_do_is_cheap(sqlite_url: str, package: ModuleType) -> None:
    """In a process of its own: nothing of it may import alembic, or open a channel, or begin a thread."""
    db = Database(sqlite_url)
    migration.upgrade(db, package)
    db.close()
    code = f"""
import sys, threading
from types import ModuleType
from protonova.services.runtime import (
    cache, channel, config, context, database, errors, feeds, migration, operations, process, server,
    telemetry
)
package = ModuleType("migrations")
package.__path__ = [{package.__path__[0]!r}]
assert not migration.upgrade(database.Database({sqlite_url!r}), package)
late = {{"alembic", "opentelemetry", "redis", "fakeredis", "keystoneauth1", "psycopg", "pymysql"}}
assert not late & set(sys.modules), late & set(sys.modules)
assert threading.active_count() == 1, threading.enumerate()
"""
    ended = subprocess.run([sys.executable, "-c", code], check=False, timeout=60, env={"PYTHONPATH": "src"})
    assert ended.returncode == 0
