"""``protonova logs``: the logs of all services in one stream, or of one."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import BinaryIO

import click

from protonova.cli import launch
from protonova.cli.commands.options import state_directory
from protonova.cli.layout import StateDirectory

_LOOK_EVERY = 0.2


@click.command()
@state_directory
@click.argument("service", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on printing what is written.")
@click.option("-n", "--lines", default=20, show_default=True, metavar="N", help="Last lines of each log.")
def logs(state: StateDirectory, service: str | None, follow: bool, lines: int) -> None:
    """Print the logs of the services, or of SERVICE."""
    paths = [
        p for p in sorted(state.logs.glob("*.log")) if service in (None, p.stem, p.stem.partition("-")[0])
    ]
    if not paths:
        raise click.ClickException(f"There is no log of {service or 'any service'} in {state.logs}.")
    width = max(len(path.stem) for path in paths) if len(paths) > 1 else 0
    ends = {path: path.stat().st_size for path in paths}
    for path in paths:
        for line in launch.tail(path, lines).splitlines():
            _print(path, width, line)
    if follow:
        _follow([_Follower(path, end) for path, end in ends.items()], width)


def _print(path: Path, width: int, line: str) -> None:
    click.echo(f"{path.stem.ljust(width)} | {line}" if width else line)


def _follow(followers: list[_Follower], width: int) -> None:
    pause = threading.Event()
    while True:
        for follower in followers:
            for line in follower.lines():
                _print(follower.path, width, line)
        pause.wait(_LOOK_EVERY)


class _Follower:
    """Whole lines as they are appended to a log."""

    def __init__(self, path: Path, end: int) -> None:
        self.path = path
        self._file: BinaryIO = open(path, "rb")  # noqa: SIM115 - followed until the command is ended
        self._file.seek(end, os.SEEK_SET)
        self._begun = b""

    def lines(self) -> list[str]:
        *whole, self._begun = (self._begun + self._file.read()).split(b"\n")
        return [line.decode(errors="replace") for line in whole]
