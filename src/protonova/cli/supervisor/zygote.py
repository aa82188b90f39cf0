"""Forking a service out of the supervisor, which has loaded what all services share.

The supervisor imports the common modules once and never creates a thread, a channel or an engine, so a fork of
it is a clean process that needs neither start-up nor memory of its own for them. ``gc.freeze`` keeps the
collector from touching (and so copying) what was loaded before.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from protonova.cli.plan import Process

READY_VARIABLE = "PROTONOVA_READY_FD"

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_libc = ctypes.CDLL(None, use_errno=True)


def preload(modules: Iterable[str]) -> None:
    """Imports what services share and puts it out of the collector's reach.

    A module that cannot be imported is left to the process that needs it, whose log then says why.
    """
    gc.disable()
    for module in modules:
        with suppress(Exception):
            importlib.import_module(module)
    gc.collect()
    gc.freeze()


def threads() -> int:
    """Threads of this process; more than one would make a fork unsafe."""
    return len(os.listdir("/proc/self/task"))


def fork(process: Process, log: Path, ready: int, inherited: Iterable[int]) -> int:
    """Starts the process and returns its pid. ``inherited`` are descriptors that are not for it."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        _settle(process, log, ready, inherited, parent)
        status = _call(process)
    except BaseException:  # noqa: BLE001 - nothing may escape into the supervisor's own stack
        traceback.print_exc()
    finally:
        _flush()
        os._exit(status)


def resolve(target: str) -> Callable[[list[str]], object]:
    """The function that ``package.module:function`` names."""
    module, _, function = target.partition(":")
    resolved: Callable[[list[str]], object] = getattr(importlib.import_module(module), function)
    return resolved


def _settle(process: Process, log: Path, ready: int, inherited: Iterable[int], parent: int) -> None:
    """Makes the fork a process of its own: session, signals, descriptors, environment."""
    os.setsid()
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    _libc.prctl(_PR_SET_NAME, process.name[:15].encode(), 0, 0, 0)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor in inherited:
        os.close(descriptor)
    _redirect(log)
    os.set_inheritable(ready, True)
    os.environ.update(process.environment)
    os.environ[READY_VARIABLE] = str(ready)
    sys.argv = [process.name, *process.arguments]
    gc.enable()


def _redirect(log: Path) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)


def _call(process: Process) -> int:
    try:
        result = resolve(process.target)(list(process.arguments))
    except SystemExit as leaving:
        if leaving.code is None or isinstance(leaving.code, int):
            return leaving.code or 0
        print(leaving.code, file=sys.stderr)
        return 1
    return result if isinstance(result, int) else 0


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
