"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from protonova.cli.layout import STATE_DIRECTORY_VARIABLE, StateDirectory


def state_directory(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--state-dir``, as a StateDirectory named ``state``."""
    return click.option(
        "--state-dir",
        "state",
        metavar="DIR",
        envvar=STATE_DIRECTORY_VARIABLE,
        callback=lambda _context, _parameter, value: StateDirectory.at(value),
        help=f"Where the cloud keeps its files. [env: {STATE_DIRECTORY_VARIABLE}]",
    )(function)


def config_files(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--config-file``, as ``files``: empty = the default one, where it exists."""
    return click.option(
        "--config-file",
        "files",
        multiple=True,
        type=click.Path(exists=True),
        help="Configuration; may be given several times.",
    )(function)
