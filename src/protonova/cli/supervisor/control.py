"""The supervisor's control socket: one JSON object a line, each answered by one line.

Commands: ``status``; ``wait`` (answered when the cloud is usable, or when it is known that it will not be);
``restart`` and ``kill`` (of the process ``name``; ``signal`` defaults to SIGKILL); ``halt`` (ends the process
``name`` until ``start`` is said); ``stop`` (answered when all processes have ended). The socket lies
in a directory of its owner alone.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

# An address of a Unix socket holds 107 bytes; a longer path is reached through its open directory.
_LONGEST_ADDRESS = 107


class NotRunning(Exception):
    """There is no supervisor at this socket."""


def listen(path: Path) -> socket.socket:
    """A listening socket at the path; what an earlier supervisor left there is replaced."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        _at(path, listener.bind)
    finally:
        os.umask(before)
    listener.listen(16)
    listener.setblocking(False)
    return listener


def ask(path: Path, command: str, *, timeout: float = 10.0, **arguments: Any) -> dict[str, Any]:
    """Sends one command and returns the answer; raises NotRunning when nobody is there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            _at(path, connection.connect)
            connection.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
            line = connection.makefile("rb").readline()
        except (FileNotFoundError, ConnectionError) as error:
            raise NotRunning(str(path)) from error
    if not line:
        raise NotRunning(str(path))
    answer: dict[str, Any] = json.loads(line)
    return answer


def _at(path: Path, act: Any) -> None:
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        act(str(path))
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        act(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.close(directory)


class Conversation:
    """One connected client of the control socket, as the supervisor's loop sees it."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        self._incoming = b""

    def fileno(self) -> int:
        return self.connection.fileno()

    def receive(self) -> list[dict[str, Any]] | None:
        """Whole commands that arrived; None when the client has gone."""
        try:
            piece = self.connection.recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not piece:
            return None
        *lines, self._incoming = (self._incoming + piece).split(b"\n")
        commands = []
        for line in lines:
            try:
                command = json.loads(line)
            except ValueError:
                command = {}
            commands.append(command if isinstance(command, dict) else {})
        return commands

    def answer(self, value: dict[str, Any]) -> None:
        """Answers are small: they fit into the socket's buffer, or the client does not read and loses."""
        try:
            self.connection.sendall(json.dumps(value).encode() + b"\n")
        except OSError:
            return

    def close(self) -> None:
        self.connection.close()
