"""``protonova placement``: the service in the foreground, and what an operator does about its database.

Without a subcommand all that follows goes to the service unread, as for every other service.
"""

from __future__ import annotations

import importlib
import sys

import click

from protonova.cli.lazy import LazyGroup, Table

_COMMANDS: Table = {
    "db": ("database", "database", "Schema and data of the placement database."),
    "upgrade": ("upgrade", "upgrade", "Check that the database is as this release expects it."),
    "heal": ("heal", "heal", "Mend what contradicts itself or the cloud."),
}


class _ServiceGroup(LazyGroup):
    """A group that is a command of its own unless one of its table is named first."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and (args[0] in self.table or args[0] in ctx.help_option_names):
            return super().parse_args(ctx, args)
        ctx.obj = list(args)
        return super().parse_args(ctx, [])


@click.command(
    cls=_ServiceGroup,
    package="protonova.cli.commands.placement",
    table=_COMMANDS,
    invoke_without_command=True,
)
@click.pass_context
def placement(ctx: click.Context) -> None:
    """Run placement in the foreground, or look after its database.

    The service takes --config-file FILE, and OS_<GROUP>__<OPTION> variables.
    """
    if ctx.invoked_subcommand is None:
        sys.exit(importlib.import_module("protonova.services.placement.main").main(ctx.obj))
