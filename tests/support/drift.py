"""Makes the rows of a placement database disagree, as only SQL can: keys of other tables are not looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

_UNGUARDED = {
    "sqlite": "PRAGMA foreign_keys = OFF",
    "postgresql": "SET session_replication_role = replica",
    "mysql": "SET foreign_key_checks = 0",
}


class Drift:
    """A connection of its own to the database of a running, or stopped, placement service."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        self.dialect = self._engine.dialect.name.replace("mariadb", "mysql")

    @contextmanager
    def _unguarded(self) -> Iterator[Connection]:
        with self._engine.connect() as connection:
            connection.exec_driver_sql(_UNGUARDED[self.dialect])
            yield connection

    def __call__(self, statement: str, **values: Any) -> int:
        """Runs a statement; how many rows it changed."""
        with self._unguarded() as connection:
            return connection.execute(sa.text(statement), values).rowcount

    def rows(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query), values)]

    def value(self, query: str, **values: Any) -> Any:
        ((found,),) = self.rows(query, **values)
        return found

    def close(self) -> None:
        self._engine.dispose()
