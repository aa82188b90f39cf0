"""What must be true of the placement database at every moment, asked in one statement, and what it holds."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import sqlalchemy as sa

Holdings = Mapping[str, Mapping[str, Mapping[str, int]]]

_SUMS = (
    "(SELECT provider_id, resource_class_id, SUM(used) AS held FROM allocations"
    " GROUP BY provider_id, resource_class_id)"
)
_LINES = (
    f"inventories i LEFT JOIN {_SUMS} s"
    " ON s.provider_id = i.provider_id AND s.resource_class_id = i.resource_class_id"
)
# Rows that must not be there, by what is wrong with them.
_WRONG = {
    "over-committed": f"{_LINES} WHERE i.used > i.capacity OR COALESCE(s.held, 0) > i.capacity",
    "used is not the sum": f"{_LINES} WHERE i.used <> COALESCE(s.held, 0)",
    "consumers without allocations": (
        "consumers c WHERE NOT EXISTS (SELECT 1 FROM allocations a WHERE a.consumer_id = c.id)"
    ),
    "allocations without consumers": (
        "allocations a WHERE NOT EXISTS (SELECT 1 FROM consumers c WHERE c.id = a.consumer_id)"
    ),
    "allocations without inventory": (
        "allocations a WHERE NOT EXISTS (SELECT 1 FROM inventories i WHERE i.provider_id = a.provider_id"
        " AND i.resource_class_id = a.resource_class_id)"
    ),
    **{
        f"{table} without providers": (
            f"{table} t WHERE NOT EXISTS (SELECT 1 FROM resource_providers p WHERE p.id = t.provider_id)"
        )
        for table in ("inventories", "provider_traits", "provider_aggregates")
    },
    "providers without roots": (
        "resource_providers t WHERE NOT EXISTS (SELECT 1 FROM resource_providers p WHERE p.id = t.root_id)"
    ),
    "children that name another root than their parents": (
        "resource_providers t JOIN resource_providers p ON p.id = t.parent_id WHERE p.root_id <> t.root_id"
    ),
}
_STATEMENT = sa.text("SELECT " + ", ".join(f"(SELECT COUNT(*) FROM {rows})" for rows in _WRONG.values()))
_HOLDINGS = sa.text(
    "SELECT c.uuid, p.uuid, r.name, a.used FROM allocations a JOIN consumers c ON c.id = a.consumer_id"
    " JOIN resource_providers p ON p.id = a.provider_id JOIN resource_classes r ON r.id = a.resource_class_id"
)


class Books:
    """Reads past the service, with a connection of its own."""

    def __init__(self, database_url: str) -> None:
        # An SQLite file is locked for a moment while whoever comes back after a kill recovers its log.
        patience = {"timeout": 60} if database_url.startswith("sqlite") else {}
        self._engine = sa.create_engine(database_url, isolation_level="AUTOCOMMIT", connect_args=patience)

    def close(self) -> None:
        self._engine.dispose()

    def wrong(self) -> dict[str, int]:
        """How many rows are wrong at this moment, by what is wrong with them; empty = none is."""
        with self._engine.connect() as connection:
            counts = connection.execute(_STATEMENT).one()
        return {what: count for what, count in zip(_WRONG, counts, strict=True) if count}

    def holdings(self) -> dict[str, dict[str, dict[str, int]]]:
        """Amounts by consumer, provider and class."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        with self._engine.connect() as connection:
            for consumer, provider, name, used in connection.execute(_HOLDINGS):
                found.setdefault(consumer, {}).setdefault(provider, {})[name] = used
        return found

    def used(self) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(sa.text("SELECT SUM(used) FROM inventories")).scalar_one())


class Sampler:
    """Looks again and again while others work; whatever was wrong at any look is kept."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._failure: BaseException | None = None
        self.looks = 0
        self.wrong: list[dict[str, int]] = []

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while not self._stop.wait(0.1):
                self.looks += 1
                if wrong := self._books.wrong():
                    self.wrong.append(wrong)
        except BaseException as error:  # noqa: BLE001 - raised when the work is over
            self._failure = error
