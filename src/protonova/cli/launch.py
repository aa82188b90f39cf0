"""Starting and stopping the supervisor of a state directory, and asking it things."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from protonova.cli.layout import StateDirectory
from protonova.cli.supervisor.control import NotRunning, ask

# Of the supervisor and all its children. They must be set before the first import: threads that numerical
# libraries start would make forks unsafe, and every thread's own heap would cost each process megabytes.
ENVIRONMENT = {
    "GRPC_ENABLE_FORK_SUPPORT": "0",
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
}


class StartFailed(Exception):
    """The cloud did not come up; the text says why."""


def running(state: StateDirectory) -> dict[str, Any] | None:
    """The status of the cloud in this directory; None when none is running."""
    try:
        return ask(state.socket, "status")
    except (NotRunning, TimeoutError):
        return None


def locked(state: StateDirectory) -> bool:
    """True while a supervisor of this directory lives, answering or not."""
    try:
        lock = os.open(state.lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def command(state: StateDirectory) -> list[str]:
    return [sys.executable, "-m", "protonova.cli.supervisor", str(state.root)]


def in_foreground(state: StateDirectory) -> None:
    """Becomes the supervisor; does not return."""
    os.execve(sys.executable, command(state), {**os.environ, **ENVIRONMENT})  # noqa: S606


def in_background(state: StateDirectory, *, timeout: float = 120.0) -> dict[str, Any]:
    """Starts the supervisor as a process of its own and returns once the cloud is usable."""
    with open(state.log("supervisor"), "ab") as log:
        supervisor = subprocess.Popen(
            command(state),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, **ENVIRONMENT, "PROTONOVA_LOG_TIME": "1"},
        )
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while time.monotonic() < deadline:
        try:
            outcome = ask(state.socket, "wait", timeout=deadline - time.monotonic())
        except NotRunning:
            if supervisor.poll() is not None:
                raise StartFailed(f"the supervisor ended early; see {state.log('supervisor')}") from None
            pause.wait(0.02)
            continue
        except TimeoutError:
            break
        if outcome.get("ready"):
            return outcome
        raise StartFailed(outcome.get("error") or "it was stopped")
    raise StartFailed(f"not ready after {timeout:.0f} s; see {state.logs}")


def stop(state: StateDirectory, *, timeout: float = 60.0) -> bool:
    """Stops the cloud; returns True once nothing of it runs, False when nothing was running."""
    try:
        ask(state.socket, "stop", timeout=timeout)
    except NotRunning:
        if not locked(state):
            return False
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while locked(state) and time.monotonic() < deadline:
        pause.wait(0.02)
    if locked(state):
        raise StartFailed(f"the supervisor (pid {state.lock.read_text()}) does not end")
    return True


def tail(path: Path, lines: int = 10) -> str:
    """The last lines of a log."""
    try:
        with open(path, "rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 16384))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""
