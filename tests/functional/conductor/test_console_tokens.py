"""Tokens of consoles in every kind of database, whose migrations make what the code expects."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from protonova.services.conductor import migrations, tables
from protonova.services.conductor.servers import console_tokens
from protonova.services.conductor.servers.console_tokens import Console
from protonova.services.runtime import migration
from protonova.services.runtime.database import Database


def test_tokens(database_url: str) -> None:
    db = Database(database_url, metadata=tables.metadata)
    migration.upgrade(db, migrations)
    console = Console("server", "novnc", "host1", "192.0.2.1", 5900, 0)
    tokens = [console_tokens.new_token() for _ in range(2)]
    for token in tokens:
        db.write(lambda c, token=token: console_tokens.keep(c, token, console, 600))
    assert [db.read(lambda c, token=token: console_tokens.find(c, token)) for token in tokens] == [
        console
    ] * 2
    # What expires is forgotten with the next one that is made.
    old = console_tokens.new_token()
    db.write(lambda c: console_tokens.keep(c, old, console, -1))
    assert db.read(lambda c: console_tokens.find(c, old)) is None
    db.write(lambda c: console_tokens.keep(c, console_tokens.new_token(), console, 600))
    db.write(lambda c: console_tokens.forget(c, "server"))
    assert db.read(lambda c: console_tokens.find(c, tokens[0])) is None
    db.close()


def test_migrated_schema_is_the_one_of_the_tables(database_url: str) -> None:
    db = Database(database_url, metadata=tables.metadata)
    migration.upgrade(db, migrations)
    differences = db.read(
        lambda connection: compare_metadata(
            MigrationContext.configure(connection, opts={"compare_type": True}), tables.metadata
        )
    )
    db.close()
    assert [each for each in differences if "alembic_version" not in str(each)] == []
