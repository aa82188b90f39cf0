"""The migrations make what the code expects."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from protonova.services.api import migrations, tables
from protonova.services.runtime import migration
from protonova.services.runtime.database import Database


def test_migrated_schema_is_the_one_of_the_tables(database_url):
    db = Database(database_url, metadata=tables.metadata)
    migration.upgrade(db, migrations)
    differences = db.read(
        lambda connection: compare_metadata(
            MigrationContext.configure(connection, opts={"compare_type": True}), tables.metadata
        )
    )
    db.close()
    assert [each for each in differences if "alembic_version" not in str(each)] == []
