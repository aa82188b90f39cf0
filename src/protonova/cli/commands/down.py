"""``protonova down``: stops the cloud; what it keeps on disk stays."""

from __future__ import annotations

import click

from protonova.cli import launch
from protonova.cli.commands.options import state_directory
from protonova.cli.layout import StateDirectory


@click.command()
@state_directory
def down(state: StateDirectory) -> None:
    """Stop the cloud; servers and everything else on disk stay for the next start."""
    try:
        stopped = launch.stop(state)
    except launch.StartFailed as error:
        raise click.ClickException(str(error)) from error
    click.echo("stopped" if stopped else f"No cloud is running in {state.root}.")
