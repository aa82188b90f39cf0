"""Entry point of ``protonova``: a table of commands, each imported only when it is called.

``protonova --help`` answers from this table alone, so nothing but click is loaded for it.
"""

from __future__ import annotations

from typing import Any

import click

from protonova import __version__
from protonova.cli.lazy import LazyGroup, Table

# name -> (module, attribute, what it does)
COMMANDS: Table = {
    "up": ("up", "up", "Start a whole cloud on this machine."),
    "down": ("down", "down", "Stop the cloud."),
    "status": ("status", "status", "Show every process of the cloud."),
    "logs": ("logs", "logs", "Print the logs of the services."),
    "restart": ("processes", "restart", "Restart one process of the cloud."),
    "stop": ("processes", "stop", "End one process of the cloud until it is started again."),
    "start": ("processes", "start", "Start one process of the cloud that was stopped."),
    "seed": ("seed", "seed", "Create flavors, an image, a network and a key pair."),
    "first-server": ("first_server", "first_server", "Boot a server and show how it came up."),
    "operations": ("operations", "operations", "Look at operations, retry or give up stuck ones."),
    "upkeep": ("upkeep", "upkeep", "Look at periodic work, or have it done now."),
    "db": ("database", "database", "Bring databases to the schema of this release."),
    "config": ("config", "config", "Print a sample of the configuration file."),
    "gateway": ("service", "gateway", "Run the gateway (REST) in the foreground."),
    "api": ("service", "api", "Run the api service in the foreground."),
    "conductor": ("service", "conductor", "Run the conductor of a cell in the foreground."),
    "scheduler": (
        "scheduler",
        "scheduler",
        "Run the scheduler in the foreground, or ask it why.",
    ),
    "placement": ("placement", "placement", "Run placement in the foreground, or look after its database."),
    "compute": ("service", "compute", "Run a compute agent in the foreground."),
    "companions": ("service", "companions", "Run the companions in the foreground."),
}


@click.command(
    cls=LazyGroup,
    package="protonova.cli.commands",
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="protonova")
def cli() -> None:
    """An independent OpenStack Compute: a cloud in one command."""


def main(*args: Any) -> None:
    """What the installed ``protonova`` script calls."""
    cli(*args, prog_name="protonova")


if __name__ == "__main__":
    main()
