"""``protonova restart``, ``stop`` and ``start``: one process of a running cloud, by its name in ``status``."""

from __future__ import annotations

from typing import Any

import click

from protonova.cli.commands.options import state_directory
from protonova.cli.layout import StateDirectory
from protonova.cli.supervisor.control import NotRunning, ask


@click.command()
@state_directory
@click.argument("name")
@click.option("--kill", is_flag=True, help="By SIGKILL, as a crash would.")
def restart(state: StateDirectory, name: str, kill: bool) -> None:
    """Restart the process NAME of the cloud (names as in `protonova status`)."""
    answer = _tell(state, "kill" if kill else "restart", name)
    click.echo(f"{name} (pid {answer['pid']}) ends and is started again")


@click.command()
@state_directory
@click.argument("name")
def stop(state: StateDirectory, name: str) -> None:
    """End the process NAME of the cloud in an orderly way; it stays away until `protonova start NAME`."""
    _tell(state, "halt", name)
    click.echo(f"{name} ends; `protonova start {name}` brings it back")


@click.command()
@state_directory
@click.argument("name")
def start(state: StateDirectory, name: str) -> None:
    """Start the process NAME of the cloud, which `protonova stop NAME` has ended."""
    _tell(state, "start", name)
    click.echo(f"{name} is started")


def _tell(state: StateDirectory, command: str, name: str) -> dict[str, Any]:
    try:
        answer = ask(state.socket, command, name=name)
    except NotRunning:
        raise click.ClickException(f"No cloud is running in {state.root}.") from None
    if answer.get("error"):
        raise click.ClickException(answer["error"])
    return answer
