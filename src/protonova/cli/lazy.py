"""Commands from a table, each imported only when it is called: help is answered from the table alone."""

from __future__ import annotations

import importlib
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
