"""``protonova placement upgrade check``."""

from __future__ import annotations

import json
import sys

import click

from protonova.cli.columns import aligned
from protonova.cli.commands.options import config_files
from protonova.cli.commands.placement.opening import opened


@click.group()
def upgrade() -> None:
    """Check that the database is as this release expects it."""


@upgrade.command()
@config_files
@click.option("--json", "as_json", is_flag=True, help="As one JSON document.")
def check(files: tuple[str, ...], as_json: bool) -> None:
    """Show a table of checks; nothing is changed.

    Exit status: 0 = all is well; 1 = there are warnings; 2 = something must be mended first.
    """
    from protonova.services.placement.upkeep import checks

    with opened(files) as (_, db):
        found = checks.run(db)
    worst = max(each.verdict for each in found)
    if as_json:
        shown = [
            {"name": each.name, "result": each.verdict.name.lower(), "details": each.details}
            for each in found
        ]
        click.echo(json.dumps({"result": worst.name.lower(), "checks": shown}, indent=1))
    else:
        rows = [(each.name, each.verdict.name.lower(), each.details) for each in found]
        for line in aligned([("Check", "Result", "Details"), *rows]):
            click.echo(line)
    sys.exit(int(worst))
