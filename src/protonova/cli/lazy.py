"""Commands from a table, each imported only when it is called: help is answered from the table alone."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any

import click

# name -> (module, attribute, what it does)
Table = Mapping[str, tuple[str, str, str]]


class LazyGroup(click.Group):
    """Lists commands from the table and imports the one that is asked for. Modules are named below `package`."""

    def __init__(self, *args: Any, package: str, table: Table, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._package = package
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        module, attribute, _ = self.table[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"{self._package}.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in self.table.items()])


class ServiceGroup(LazyGroup):
    """A group that is a command of its own, which gets all words unread, unless one of its table is named first."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and (args[0] in self.table or args[0] in ctx.help_option_names):
            return super().parse_args(ctx, args)
        ctx.obj = list(args)
        return super().parse_args(ctx, [])


def service_group(service: str, table: Table, purpose: str) -> click.Command:
    """The command of a service that has subcommands too; these are modules below `commands.<service>`."""

    @click.command(
        name=service,
        cls=ServiceGroup,
        package=f"protonova.cli.commands.{service}",
        table=table,
        invoke_without_command=True,
        help=f"{purpose}\n\nThe service takes --config-file FILE, and OS_<GROUP>__<OPTION> variables.",
    )
    @click.pass_context
    def run(ctx: click.Context) -> None:
        if ctx.invoked_subcommand is None:
            sys.exit(importlib.import_module(f"protonova.services.{service}.main").main(ctx.obj))

    return run
