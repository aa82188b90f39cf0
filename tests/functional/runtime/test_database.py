"""The two doors of a database, on each kind of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, make_url

from protonova.services.runtime import database, errors
from protonova.services.runtime.database import Database, DatabaseUnavailable, insert_ignore, upsert
from tests.support.proxy import Proxy

metadata = sa.MetaData()
counters = sa.Table(
    "counters",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("value", sa.BigInteger),
    sa.Column("facts", sa.JSON),
    mysql_engine="InnoDB",
)


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    db = Database(database_url, metadata=metadata)
    db.write(metadata.create_all)
    yield db
    db.close()


def _value(db: Database, name: str) -> int | None:
    query = sa.select(counters.c.value).where(counters.c.name == name)
    return db.read(lambda c: c.execute(query).scalar())


def test_the_clock_is_in_microseconds(db: Database) -> None:
    before = time.time_ns() // 1000
    told = db.read(lambda c: c.execute(sa.select(db.now())).scalar_one())
    assert isinstance(told, int)
    assert abs(told - before) < 5_000_000
    later = db.read(lambda c: c.execute(sa.select(db.now())).scalar_one())
    assert later > told


@pytest.fixture
def ascii_url(postgresql_url: str) -> Iterator[str]:
    """A PostgreSQL database that knows no encoding, as it comes to be on a machine without a locale."""
    name = f"{make_url(postgresql_url).database}_ascii"
    with psycopg.connect(postgresql_url.replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
        yield f"{postgresql_url}_ascii"
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.postgresql
def test_text_is_text_where_the_database_knows_no_encoding(ascii_url: str) -> None:
    db = Database(ascii_url, metadata=metadata)
    db.write(metadata.create_all)
    db.write(lambda c: c.execute(counters.insert().values(name="größer", value=1, facts={"of": "größer"})))
    kept = db.read(lambda c: c.execute(sa.select(counters.c.name, counters.c.facts)).one())
    db.close()
    assert tuple(kept) == ("größer", {"of": "größer"})


def test_concurrent_increments_all_count(db: Database) -> None:
    """Read, then write what was read plus one: the compare-and-set loses, raises, and is run again."""
    db.write(lambda c: c.execute(counters.insert().values(name="n", value=0)))

    def increment(connection: Connection) -> bool:
        seen = connection.execute(sa.select(counters.c.value).where(counters.c.name == "n")).scalar_one()
        changed = connection.execute(
            counters.update().where(counters.c.name == "n", counters.c.value == seen).values(value=seen + 1)
        )
        return changed.rowcount == 1

    def work() -> None:
        for _ in range(10):
            while not db.write(increment):
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _value(db, "n") == 40


def test_a_deadlock_is_tried_again(db: Database) -> None:
    """Two transactions that lock two rows in opposite orders."""
    names = ["a", "b"]
    db.write(lambda c: c.execute(counters.insert(), [{"name": name, "value": 0} for name in names]))
    both = threading.Barrier(2)
    tries: list[int] = []

    def cross(order: list[str]) -> None:
        met = False

        def change(connection: Connection) -> None:
            nonlocal met
            tries.append(1)
            for name in order:
                connection.execute(
                    counters.update().where(counters.c.name == name).values(value=counters.c.value + 1)
                )
                if not met and db.dialect != "sqlite":  # whose writers never meet
                    met = True
                    both.wait(10)

        db.write(change)

    threads = [threading.Thread(target=cross, args=(order,)) for order in (names, names[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [_value(db, name) for name in names] == [2, 2]
    assert len(tries) == 2 if db.dialect == "sqlite" else len(tries) >= 3


def test_an_error_leaves_nothing_behind(db: Database) -> None:
    def half(connection: Connection) -> None:
        connection.execute(counters.insert().values(name="half", value=1))
        raise errors.FailedPrecondition("no")

    with pytest.raises(errors.FailedPrecondition):
        db.write(half)
    assert _value(db, "half") is None
    db.write(lambda c: c.execute(counters.insert().values(name="half", value=2)))
    with pytest.raises(sa.exc.IntegrityError):
        db.write(lambda c: c.execute(counters.insert().values(name="half", value=3)))
    assert _value(db, "half") == 2


def test_a_transaction_does_not_begin_another_one(db: Database) -> None:
    with pytest.raises(RuntimeError):
        db.write(lambda _: db.write(lambda _: None))
    db.write(lambda _: None)


def test_readers_see_one_snapshot_and_change_nothing(db: Database) -> None:
    db.write(lambda c: c.execute(counters.insert().values(name="s", value=1)))

    def look(connection: Connection) -> list[int | None]:
        query = sa.select(counters.c.value).where(counters.c.name == "s")
        first = connection.execute(query).scalar()
        db.write(lambda c: c.execute(counters.update().values(value=2)))
        return [first, connection.execute(query).scalar()]

    assert db.read(look) == [1, 1]
    with pytest.raises(sa.exc.DBAPIError):
        db.read(lambda c: c.execute(counters.update().values(value=3)))
    assert _value(db, "s") == 2


def test_what_follows_a_commit_follows_only_a_commit(db: Database) -> None:
    told: list[str] = []

    def change(connection: Connection, fail: bool) -> None:
        database.after_commit(connection, lambda: told.append("told"))
        if fail:
            raise errors.Internal("no")

    db.write(lambda c: change(c, False))
    with pytest.raises(errors.Internal):
        db.write(lambda c: change(c, True))
    assert told == ["told"]


def test_insert_ignore_and_upsert(db: Database) -> None:
    rows = [{"name": "x", "value": 1, "facts": {"a": [1]}}, {"name": "y", "value": 2, "facts": None}]
    db.write(lambda c: insert_ignore(c, counters, rows))
    db.write(lambda c: insert_ignore(c, counters, [{"name": "x", "value": 9}, {"name": "z", "value": 3}]))
    db.write(lambda c: insert_ignore(c, counters, [{"name": "x", "value": db.now()}]))
    assert [_value(db, name) for name in "xyz"] == [1, 2, 3]
    db.write(lambda c: upsert(c, counters, {"name": "x", "value": 5}, ["name"]))
    db.write(lambda c: upsert(c, counters, {"name": "w", "value": 4}, ["name"]))
    db.write(
        lambda c: upsert(
            c, counters, {"name": "y", "value": 1}, ["name"], update={"value": counters.c.value + 10}
        )
    )
    db.write(lambda c: upsert(c, counters, {"name": "z"}, ["name"]))
    assert [_value(db, name) for name in "xyzw"] == [5, 12, 3, 4]
    facts = sa.select(counters.c.facts).where(counters.c.name == "x")
    assert db.read(lambda c: c.execute(facts).scalar()) == {"a": [1]}


def test_two_processes_share_an_sqlite_file(sqlite_url: str) -> None:
    first, second = Database(sqlite_url), Database(sqlite_url)
    first.write(metadata.create_all)
    first.write(lambda c: c.execute(counters.insert().values(name="n", value=0)))

    def work(db: Database) -> None:
        for _ in range(50):
            db.write(lambda c: c.execute(counters.update().values(value=counters.c.value + 1)))

    threads = [threading.Thread(target=work, args=(db,)) for db in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _value(first, "n") == 100
    first.close()
    second.close()


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
    ],
)
def test_a_database_that_comes_back_is_used_again(kind: str, request: pytest.FixtureRequest) -> None:
    url = make_url(request.getfixturevalue(f"{kind}_url"))
    proxy = Proxy(url.host or "127.0.0.1", url.port or {"postgresql": 5432, "mariadb": 3306}[kind])
    db = Database(url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False))
    db.write(metadata.create_all)
    db.write(lambda c: c.execute(counters.insert().values(name="n", value=1)))
    proxy.refuse()
    with pytest.raises(DatabaseUnavailable) as away:
        db.write(lambda c: c.execute(counters.update().values(value=2)), retries=1)
    assert away.value.transient
    assert away.value.reason == "DATABASE_UNAVAILABLE"
    threading.Timer(0.1, proxy.resume).start()
    db.write(lambda c: c.execute(counters.update().values(value=3)))
    assert _value(db, "n") == 3
    db.close()
    proxy.close()


@pytest.mark.postgresql
def test_a_commit_that_nobody_answered_for_is_told(postgresql_url: str) -> None:
    url = make_url(postgresql_url)
    proxy = Proxy(url.host or "127.0.0.1", url.port or 5432)
    db = Database(url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False))
    db.write(metadata.create_all)

    def cut(connection: Connection) -> None:
        connection.execute(counters.insert().values(name="n", value=1))
        proxy.refuse()

    with pytest.raises(DatabaseUnavailable) as unknown:
        db.write(cut)
    assert unknown.value.reason == "DATABASE_COMMIT_UNKNOWN"
    db.close()
    proxy.close()


@pytest.mark.postgresql
def test_a_read_is_repeated_wherever_it_was_cut(postgresql_url: str) -> None:
    url = make_url(postgresql_url)
    proxy = Proxy(url.host or "127.0.0.1", url.port or 5432)
    db = Database(url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False))
    db.write(metadata.create_all)
    cuts = iter((True, False))

    def read(connection: Connection) -> int:
        found = connection.execute(sa.select(sa.func.count()).select_from(counters)).scalar_one()
        if next(cuts):
            proxy.refuse()
            proxy.resume()
        return int(found)

    assert db.read(read) == 0
    assert next(cuts, None) is None
    db.close()
    proxy.close()


@pytest.mark.mariadb
def test_connections_to_mariadb_share_what_they_need_for_tls(mariadb_url: str) -> None:
    """To read the system's certificates for each would be most of the cost of a connection."""
    db = Database(mariadb_url)
    contexts = [
        door(lambda connection: connection.connection.driver_connection.ctx) for door in (db.read, db.write)
    ]
    assert contexts[0] is contexts[1]
    db.close()


def test_databases_we_do_not_serve_are_refused(tmp_path: Path) -> None:
    for url in ("sqlite://", "oracle://user@host/name"):
        with pytest.raises(errors.InvalidArgument):
            Database(url)
