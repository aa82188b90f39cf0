"""``protonova seed``: fills a running cloud with what a first server needs."""

from __future__ import annotations

from pathlib import Path

import click

from protonova.cli import credentials, launch
from protonova.cli.commands.options import state_directory
from protonova.cli.layout import Ports, StateDirectory
from protonova.cli.rest import Refused, Rest, Unreachable
from protonova.cli.seed import Seeder


def clients(state: StateDirectory) -> tuple[Rest, Rest]:
    """The administrator's and the member's client of the cloud that runs here."""
    found = launch.running(state)
    if found is None or not found["ready"]:
        raise click.ClickException(f"No cloud is ready in {state.root}; start one with `protonova up`.")
    accounts = credentials.of(state, Ports(found["facts"]["options"]["base_port"]))
    return Rest(accounts["protonova-admin"]), Rest(accounts["protonova"])


@click.command()
@state_directory
@click.option(
    "--image",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Bootable qcow2 image; an empty disk otherwise.",
)
def seed(state: StateDirectory, image: Path | None) -> None:
    """Create flavors, an image, a network and a key pair, each unless it is there."""
    admin, member = clients(state)
    try:
        Seeder(state, admin, member, lambda text: click.echo(f"  {text}")).seed(image)
    except (Refused, Unreachable) as error:
        raise click.ClickException(str(error)) from error
