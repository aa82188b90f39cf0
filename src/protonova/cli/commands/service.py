"""One service in the foreground, for containers and for the curious.

What stands after the name of the service goes to it unread: ``--config-file FILE``, and its own options.
"""

from __future__ import annotations

import importlib
import sys

import click

_MODULES = {
    "gateway": "protonova.gateway.main",
    "companions": "protonova.companions.main",
    **{name: f"protonova.services.{name}.main" for name in ("api", "conductor", "compute")},
}


def _command(name: str) -> click.Command:
    @click.command(
        name=name,
        help=f"Run {name} in the foreground. Takes --config-file FILE, and OS_<GROUP>__<OPTION> variables.",
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
        add_help_option=False,
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def run(arguments: tuple[str, ...]) -> None:
        sys.exit(importlib.import_module(_MODULES[name]).main(list(arguments)))

    return run


gateway = _command("gateway")
api = _command("api")
conductor = _command("conductor")
compute = _command("compute")
companions = _command("companions")
