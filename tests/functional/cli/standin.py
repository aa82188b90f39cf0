"""A small real service for the supervisor to keep: answers every connection with its pid."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path


def main(arguments: list[str]) -> int:
    """``PORT [DIRECTORY]``: with a directory, a note of how it ended is left there."""
    listener = socket.create_server(("127.0.0.1", int(arguments[0])), reuse_port=True)
    address = f"127.0.0.1:{listener.getsockname()[1]}"

    def leave(*_: object) -> None:
        if len(arguments) > 1:
            Path(arguments[1], f"ended-{os.getpid()}").write_text("gracefully")
        sys.exit(0)

    signal.signal(signal.SIGTERM, leave)
    print(f"serving at {address}", flush=True)
    ready = int(os.environ["PROTONOVA_READY_FD"])
    os.write(ready, json.dumps({"name": "standin", "address": address}).encode() + b"\n")
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(str(os.getpid()).encode())


def broken(arguments: list[str]) -> int:
    """Dies before it serves."""
    print("no such database", file=sys.stderr)
    return 7


def slow(arguments: list[str]) -> int:
    """Takes its time until it serves."""
    threading.Event().wait(0.4)
    return main(arguments)


def deaf(arguments: list[str]) -> int:
    """Ignores the wish that it ends."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(int(os.environ["PROTONOVA_READY_FD"]), b"{}\n")
    while True:
        signal.pause()


def parent(arguments: list[str]) -> int:
    """Has a process of its own, whose pid it writes into the file it is given."""
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    Path(arguments[0]).write_text(str(child.pid))
    return main(["0"])


def descriptors(arguments: list[str]) -> int:
    """Writes down what descriptors and environment it was given."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found[name] = os.readlink(f"/proc/self/fd/{name}")
    Path(arguments[0]).write_text(json.dumps({"descriptors": found, "environment": dict(os.environ)}))
    return main(["0"])


def probe(arguments: list[str]) -> int:
    """Succeeds once the file it is given exists."""
    return 0 if Path(arguments[0]).exists() else 1
