"""One supervised process: its state, its readiness, and when it is started again.

States: ``starting`` (forked, has not said that it serves), ``ready``, ``waiting`` (dead, will be started again
at ``due``), ``stopping`` (was asked to end), ``stopped``. Only the supervisor's loop moves them.
"""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from protonova.cli.plan import Process
from protonova.cli.supervisor import zygote

FIRST_DELAY = 0.1
LONGEST_DELAY = 10.0
# A process that served this long has recovered: its next death counts as the first.
STEADY_SECONDS = 5.0
_TAIL_BYTES = 2000


class Child:
    """A process of the plan and what has become of it."""

    def __init__(self, process: Process, log: Path, start_seconds: float) -> None:
        self.process = process
        self.log = log
        self.start_seconds = start_seconds
        self.state = "stopped"
        self.pid: int | None = None
        self.address = process.address
        self.restarts = 0
        self.failures = 0
        self.started_at = 0.0
        self.ready_at: float | None = None
        self.due: float | None = None
        self.last_exit = ""
        self.ready_fd: int | None = None
        self._notice = b""
        self._wanted = True

    @property
    def name(self) -> str:
        return self.process.name

    def start(self, now: float, inherited: list[int]) -> None:
        """Forks the process; ``ready_fd`` is to be watched from then on."""
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.pid = zygote.fork(self.process, self.log, writer, [*inherited, reader])
        os.close(writer)
        self.ready_fd = reader
        self._notice = b""
        self.state = "starting"
        self.started_at = now
        self.ready_at = None
        self.due = now + self.start_seconds

    def read_notice(self, now: float) -> bool:
        """Takes what came through the readiness pipe; True when the pipe has nothing more to say."""
        assert self.ready_fd is not None
        try:
            piece = os.read(self.ready_fd, 4096)
        except BlockingIOError:
            return False
        self._notice += piece
        line, newline, _ = self._notice.partition(b"\n")
        if newline:
            with suppress(ValueError, AttributeError):
                self.address = json.loads(line).get("address") or self.address
            if self.state == "starting":
                self.state = "ready"
                self.ready_at = now
                self.due = None
        return bool(newline) or not piece

    def close_notice(self) -> None:
        if self.ready_fd is not None:
            os.close(self.ready_fd)
            self.ready_fd = None

    def exited(self, status: int, now: float) -> None:
        """The process is gone: decides whether and when it comes back."""
        self.pid = None
        self.last_exit = describe(status)
        if self.state == "stopping" or not self._wanted:
            self.state = "stopped"
            self.due = None
            return
        if self.ready_at is not None and now - self.ready_at >= STEADY_SECONDS:
            self.failures = 0
        delay = min(FIRST_DELAY * 2**self.failures, LONGEST_DELAY)
        self.failures += 1
        self.restarts += 1
        self.state = "waiting"
        self.due = now + delay

    def overdue(self) -> None:
        """Has not become ready in time: ends it, so that it is started anew."""
        self.due = None
        self.signal(signal.SIGKILL)

    def last_words(self) -> str:
        """The last line of its log, after a colon; of a death by an exception it is the exception."""
        with suppress(OSError), self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").split("\n")
            return next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")
        return ""

    def stop(self) -> None:
        """Asks the process to end; it is not started again."""
        self._wanted = False
        if self.pid is None:
            self.state = "stopped"
            self.due = None
            return
        self.state = "stopping"
        self.due = None
        self.signal(signal.SIGTERM)

    def resume(self, now: float) -> None:
        """What was stopped is to run again."""
        self._wanted = True
        self.failures = 0
        self.state = "waiting"
        self.due = now

    def signal(self, number: int) -> bool:
        """Sends a signal to the process; False when there is none."""
        if self.pid is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
        return True

    def describe(self, now: float) -> dict[str, Any]:
        """The line of ``protonova status``."""
        return {
            "name": self.name,
            "service": self.process.service,
            "replica": self.process.replica,
            "pid": self.pid,
            "address": self.address,
            "protocol": self.process.protocol,
            "state": self.state,
            "healthy": self.state == "ready",
            "restarts": self.restarts,
            "uptime_seconds": round(now - self.started_at, 1) if self.pid else 0,
            "last_exit": self.last_exit,
            "log": str(self.log),
        }


def describe(status: int) -> str:
    """A wait status in words."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exited with status {code}"
