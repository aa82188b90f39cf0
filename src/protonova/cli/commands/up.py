"""``protonova up``: starts a whole cloud on this machine."""

from __future__ import annotations

import shlex

import click

from protonova.cli import cloud, launch
from protonova.cli.commands.options import state_directory
from protonova.cli.layout import DEFAULT_BASE_PORT, MAX_CELLS, MAX_REPLICAS, StateDirectory


@click.command()
@state_directory
@click.option(
    "--base-port",
    type=click.IntRange(1024, 65000),
    metavar="P",
    help=f"Public port; others count from it. [{DEFAULT_BASE_PORT}]",
)
@click.option(
    "--driver",
    type=click.Choice(["auto", "libvirt", "fake"]),
    help="Hypervisor. [auto: libvirt where a daemon answers]",
)
@click.option(
    "--computes", type=click.IntRange(1, 100_000), metavar="N", help="Simulated hosts of the fake driver. [1]"
)
@click.option(
    "--cells",
    type=click.IntRange(1, MAX_CELLS),
    metavar="N",
    help="Cells, each with a conductor and a database. [1]",
)
@click.option(
    "--replicas",
    type=click.IntRange(1, MAX_REPLICAS),
    metavar="N",
    help="Processes of api, scheduler, placement and of each conductor. [1]",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False),
    help="Configuration that wins over the defaults.",
)
@click.option("--detach", is_flag=True, help="Return once the cloud is ready, and leave it running.")
def up(state: StateDirectory, detach: bool, **given: object) -> None:
    """Start a whole cloud on this machine.

    Options that are not given are those of the last start in the same directory.
    """
    if launch.running(state):
        click.echo(f"A cloud is already running in {state.root}.")
        return
    if launch.locked(state):
        raise click.ClickException(f"A cloud in {state.root} is just starting or stopping.")
    options = cloud.Options.remembered(state).changed(**given)
    options = options.changed(driver=cloud.settled_driver(options.driver))
    plan = cloud.prepare(state, options)
    if taken := cloud.taken_ports(plan, options.ports):
        raise click.ClickException(
            f"Port {', '.join(map(str, taken))} is taken by another program; choose another --base-port."
        )
    clients = f"export OS_CLIENT_CONFIG_FILE={shlex.quote(str(state.clouds))} OS_CLOUD=protonova"
    click.echo(f"{len(plan.processes)} processes, driver {options.driver}, logs in {state.logs}")
    if not detach:
        click.echo(clients)
        launch.in_foreground(state)
    try:
        outcome = launch.in_background(state)
    except launch.StartFailed as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"ready after {outcome['seconds']:.1f} s")
    click.echo(clients)
