"""An empty database on each server that is there, for tests marked for it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

SERVERS = {
    "postgresql": ("postgresql+psycopg://postgres@127.0.0.1/", "postgres", "DROP DATABASE {} WITH (FORCE)"),
    "mariadb": ("mysql+pymysql://root@127.0.0.1/", "", "DROP DATABASE {}"),
}
EVERY = [
    "sqlite",
    pytest.param("postgresql", marks=pytest.mark.postgresql),
    pytest.param("mariadb", marks=pytest.mark.mariadb),
]
# Of moves between cells, all tests go through on SQLite, and on the others with CHAOS_POINTS=all; without it a few
# stand for them there.
CROSSED = EVERY if os.environ.get("CHAOS_POINTS", "") == "all" else EVERY[:1]
ELSEWHERE = [] if CROSSED is EVERY else EVERY[1:]


def fresh(kind: str, directory: Path) -> Iterator[str]:
    """The URL of a database that is dropped afterwards."""
    if kind == "sqlite":
        yield f"sqlite:///{directory}/cell.sqlite"
        return
    prefix, maintenance, drop = SERVERS[kind]
    name = f"conductor_{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(prefix + maintenance, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
    except sa.exc.OperationalError:
        engine.dispose()
        pytest.skip(f"no {kind} server")
    yield prefix + name
    with engine.connect() as connection:
        connection.exec_driver_sql(drop.format(name))
    engine.dispose()
