"""``protonova db``: schemas.

Services bring theirs up to date when they start, unless ``sync_on_startup`` is off.
"""

from __future__ import annotations

import click

from protonova.cli.commands.options import config_files

# option group -> package with the revisions
_DATABASES = {
    "api": ("api_database", "protonova.services.api.migrations"),
    "cell": ("database", "protonova.services.conductor.migrations"),
    "placement": ("placement_database", "protonova.services.placement.migrations"),
}


@click.group()
def database() -> None:
    """Bring databases to the schema of this release."""


@database.command()
@click.argument("names", nargs=-1, type=click.Choice(list(_DATABASES)))
@config_files
def sync(names: tuple[str, ...], files: tuple[str, ...]) -> None:
    """Bring the databases NAMES (default: all) up to date."""
    from protonova.services.runtime import config, migration
    from protonova.services.runtime.database import Database

    conf = config.load(files=list(files) or None)
    for name in names or _DATABASES:
        group, package = _DATABASES[name]
        opened = Database(conf[group].connection)
        changed = migration.upgrade(opened, package)
        click.echo(f"{name}: {'brought to' if changed else 'is at'} revision {migration.head(package)}")


@database.command()
@config_files
def version(files: tuple[str, ...]) -> None:
    """Show the revision of each database, and the one this release has."""
    from protonova.services.runtime import config, migration
    from protonova.services.runtime.database import Database

    conf = config.load(files=list(files) or None)
    for name, (group, package) in _DATABASES.items():
        found = migration.current(Database(conf[group].connection))
        click.echo(f"{name}: {found or 'empty'} (this release: {migration.head(package)})")
