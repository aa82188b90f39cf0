"""The life of a service process: log, telemetry, server, readiness, signals, an orderly end.

SIGTERM and SIGINT end it (a second one at once), SIGUSR1 writes a state report to the log, SIGHUP reads the
changeable options again. Signals are taken by the main thread from a pipe, so that no handler runs in the
middle of anything.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import logging
import os
import signal
from collections.abc import Callable

from protonova.services.runtime import context, log, telemetry
from protonova.services.runtime.config import Conf
from protonova.services.runtime.feeds import wake
from protonova.services.runtime.server import Server

READY_FD = "PROTONOVA_READY_FD"

_log = logging.getLogger("protonova.process")


def run(
    name: str,
    conf: Conf,
    build: Callable[[Conf, Server], None],
    *,
    prepare: Callable[[Conf], None] | None = None,
    listen: str | None = None,
) -> int:
    """Serves until told to end. `build` adds the servicers and starts what works beside them; `prepare` is called
    first, while the process has no threads; the address is the one of the option group `name` unless given."""
    log.setup(name, conf)
    faulthandler.enable()
    collect_less_often()
    context.enter(context.internal(name))
    signals = _Signals()
    server = None
    try:
        if prepare is not None:
            prepare(conf)
        server = Server(conf, name, listen if listen is not None else conf[name].listen)
        telemetry.start(name, conf)
        wake.connect(conf)
        build(conf, server)
        server.start()
        _log.info("%s serves on %s", name, server.address)
        notify_ready(name, server.address)
        _until_told_to_end(signals, conf)
        _log.info("%s ends", name)
    except Exception:  # noqa: BLE001 - the log is where a process says why it ended
        _log.exception("%s failed", name)
        return 1
    finally:
        if server is not None:
            server.stop()
        signals.close()
    return 0


def collect_less_often() -> None:
    """A page of servers is tens of thousands of objects that live for milliseconds: with Python's usual
    threshold the collector would look through them dozens of times, and find no cycle."""
    gc.set_threshold(50_000, 20, 20)


def notify_ready(name: str, address: str) -> None:
    """Tells whoever started this process that it serves, if they asked to be told."""
    number = os.environ.pop(READY_FD, "")
    if number:
        with os.fdopen(int(number), "w") as pipe:
            pipe.write(json.dumps({"name": name, "address": address}) + "\n")


def _until_told_to_end(signals: _Signals, conf: Conf) -> None:
    for number in signals:
        if number == signal.SIGUSR1:
            telemetry.log_state_report()
        elif number == signal.SIGHUP:
            conf.mutate_config_files()
            log.set_levels(conf)
        else:
            return


class _Signals:
    """Signals as a sequence of numbers, read in the main thread."""

    _NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._ending = False
        self._old_fd = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._old = {number: signal.signal(number, self._seen) for number in self._NUMBERS}

    def _seen(self, number: int, _frame: object) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            if self._ending:
                os._exit(128 + number)
            self._ending = True

    def __iter__(self) -> _Signals:
        return self

    def __next__(self) -> int:
        while True:
            number = os.read(self._reader, 1)[0]
            if number in self._NUMBERS:
                return number

    def close(self) -> None:
        signal.set_wakeup_fd(self._old_fd)
        for number, handler in self._old.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)
