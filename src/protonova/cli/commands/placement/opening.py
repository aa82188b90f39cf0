"""The placement database, opened as the configuration says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from protonova.services.runtime.config import Conf
    from protonova.services.runtime.database import Database

FAILED = 2
BAD_COUNT = 127


@contextmanager
def opened(files: tuple[str, ...]) -> Iterator[tuple[Conf, Database]]:
    """Ends the command with status 2 and a word on the cause when the database does not answer."""
    # Imported for its options, which the configuration would not know else.
    from protonova.services.placement import options, tables  # noqa: F401
    from protonova.services.runtime import config, context, errors
    from protonova.services.runtime.database import Database

    conf = config.load(files=list(files) or None)
    db = Database.of(conf.placement_database, metadata=tables.metadata)
    try:
        with context.use(context.internal("placement-upkeep")):
            yield conf, db
    except errors.Error as error:
        fail(str(error))
    finally:
        db.close()


@contextmanager
def current(files: tuple[str, ...]) -> Iterator[tuple[Conf, Database]]:
    """The same, for commands that need the schema of this release."""
    from protonova.services.placement import migrations
    from protonova.services.runtime import migration

    with opened(files) as (conf, db):
        found, wanted = migration.current(db), migration.head(migrations)
        if found != wanted:
            fail(
                f"The database is at revision {found or 'none'}, this release has {wanted}; "
                "see `protonova placement db sync`."
            )
        yield conf, db


def count(text: str | None) -> int | None:
    """A number above 0; ends the command with status 127 where it is none."""
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        click.echo(f"--max-count must be a number of at least 1, not {text!r}.", err=True)
        sys.exit(BAD_COUNT)
    return int(text)


def fail(text: str) -> None:
    click.echo(text, err=True)
    sys.exit(FAILED)
