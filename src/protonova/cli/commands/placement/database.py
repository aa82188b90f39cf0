"""``protonova placement db``: the schema, and the data that a new schema or an old mistake left behind."""

from __future__ import annotations

import sys

import click

from protonova.cli.columns import aligned
from protonova.cli.commands.options import config_files
from protonova.cli.commands.placement.opening import FAILED, count, current, fail, opened

_SOME_LEFT = 1


@click.group()
def database() -> None:
    """Schema and data of the placement database."""


@database.command()
@config_files
def sync(files: tuple[str, ...]) -> None:
    """Bring the schema to that of this release.

    Exit status: 0 = it is there; 2 = it could not be brought there, or is newer.
    """
    from protonova.services.placement import migrations
    from protonova.services.runtime import migration

    with opened(files) as (_, db):
        before, wanted = migration.current(db), migration.head(migrations)
        if before is not None and before > wanted:
            fail(f"The database is at revision {before}, which is newer than this release ({wanted}).")
        if migration.upgrade(db, migrations):
            click.echo(f"brought from revision {before or 'none'} to {wanted}")
        else:
            click.echo(f"is at revision {wanted}, nothing to do")


@database.command()
@config_files
def version(files: tuple[str, ...]) -> None:
    """Show the revision of the schema, and the one this release has."""
    from protonova.services.placement import migrations
    from protonova.services.runtime import migration

    with opened(files) as (_, db):
        found = migration.current(db)
        click.echo(f"{found or 'empty'} (this release: {migration.head(migrations)})")


@database.command("online-data-migrations")
@config_files
@click.option("--max-count", "most", metavar="N", help="Look at no more than N rows; default: all.")
def online_data_migrations(files: tuple[str, ...], most: str | None) -> None:
    """Set right the data that can be derived, while services run.

    Exit status: 0 = nothing is left to do; 1 = some is, run it again; 2 = a migration failed; 127 = N is no number
    above 0.
    """
    from protonova.services.placement.holders import Nobody
    from protonova.services.placement.upkeep import mend as mending
    from protonova.services.placement.upkeep import mends
    from protonova.services.runtime import errors

    budget = count(most)
    failed = left = False
    rows: list[tuple[object, ...]] = [("Migration", "Found", "Done")]
    with current(files) as (conf, db):
        for each in mends.migrations(Nobody.of(conf)):
            found = done = 0
            try:
                for batch in mending.run(db, each, budget):
                    found += len(batch.found)
                    done += batch.done
                left = mending.left(db, each) or left
            except errors.Error as error:
                failed = True
                click.echo(f"{each.name}: {error}", err=True)
            budget = None if budget is None else budget - found
            rows.append((each.name, found, done))
    for line in aligned(rows):
        click.echo(line)
    sys.exit(FAILED if failed else _SOME_LEFT if left else 0)
