"""Clouds of stand-in services, supervised by the real supervisor."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

from protonova.cli import launch
from protonova.cli.layout import StateDirectory
from protonova.cli.plan import Plan, Process
from protonova.cli.supervisor.control import ask

HERE = Path(__file__).parent


class Cloud:
    """A state directory with a plan of stand-ins."""

    def __init__(self, root: Path) -> None:
        self.state = StateDirectory.at(root)
        self.state.create()

    def plan(self, *processes: Process, **options: object) -> None:
        plan = Plan(processes=list(processes), **options)  # type: ignore[arg-type]
        self.state.plan.write_text(plan.text())

    def start(self) -> dict:
        return launch.in_background(self.state, timeout=20)

    def status(self, name: str) -> dict:
        return next(p for p in ask(self.state.socket, "status")["processes"] if p["name"] == name)

    def ask(self, command: str, **arguments: object) -> dict:
        return ask(self.state.socket, command, **arguments)

    def supervisor(self) -> int:
        return int(self.state.lock.read_text())


def standin(name: str, function: str = "main", *arguments: str, **options: object) -> Process:
    return Process(name, name, 1, f"standin:{function}", list(arguments) or ["0"], **options)  # type: ignore[arg-type]


def answer(address: str) -> int:
    """The pid of the process that serves at the address."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        return int(connection.recv(100))


def eventually(check: Callable[[], object], seconds: float = 10.0) -> object:
    """The first true value of the check."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = check()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
