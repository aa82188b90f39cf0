"""``protonova placement heal``."""

from __future__ import annotations

import json
import sys

import click

from protonova.cli.commands.options import config_files
from protonova.cli.commands.placement.opening import count, current, fail

_SOME_LEFT = 1
_REFUSED = 2
_UNHEARD = 3


@click.command()
@config_files
@click.option("--dry-run", is_flag=True, help="Say what would be mended, and change nothing.")
@click.option("--max-count", "most", metavar="N", help="Mend no more than N; default: all.")
@click.option(
    "--cell", "cells", multiple=True, metavar="NAME", help="Only hosts of this cell; may be repeated."
)
@click.option(
    "--grace",
    default=600.0,
    show_default=True,
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long a consumer must not have changed before it counts as left over.",
)
@click.option("--json", "as_json", is_flag=True, help="As one JSON document.")
def heal(
    files: tuple[str, ...],
    dry_run: bool,
    most: str | None,
    cells: tuple[str, ...],
    grace: float,
    as_json: bool,
) -> None:
    """Mend what contradicts itself in the database, and what contradicts the cloud.

    Allocations whose consumer is no server of any cell are removed, servers without an allocation on their host are
    given one. Consumers of other types than INSTANCE are left alone, and so is whatever is being done to.

    Exit status: 0 = nothing is left to mend; 1 = something is, run it again; 2 = something could not be mended;
    3 = the cloud, or some cell, did not answer: what depends on it was not looked at; 127 = N is no number above 0.
    """
    from protonova.services.placement.upkeep import healing
    from protonova.services.placement.upkeep.healing import Outcome

    wish = healing.Wish(dry_run=dry_run, most=count(most), grace=grace, cells=cells)

    def told(entry: healing.Entry) -> None:
        if not as_json:
            click.echo(f"{entry.outcome}: {entry.text}")

    with current(files) as (conf, db):
        try:
            report = healing.Healer(conf, db, wish, told).heal()
        except healing.UnknownCell as error:
            fail(f"There is no cell {error}.")
    mended, left, refused = map(report.count, (Outcome.MENDED, Outcome.LEFT, Outcome.REFUSED))
    if as_json:
        shown = [{"kind": each.kind, "outcome": each.outcome, "text": each.text} for each in report.entries]
        click.echo(json.dumps({"entries": shown, "unheard": report.unheard}, indent=1))
    else:
        click.echo(f"{mended} mended, {left} left, {refused} could not be mended")
    if report.unheard:
        click.echo(f"Only part of the cloud was looked at: {report.unheard}", err=True)
    sys.exit(_UNHEARD if report.unheard else _REFUSED if refused else _SOME_LEFT if left else 0)
