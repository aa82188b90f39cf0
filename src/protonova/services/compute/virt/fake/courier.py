"""Brings the events of fake hosts to those who listen: one thread for all hosts of the process, so that no
callback runs inside the call that caused it."""

from __future__ import annotations

import logging
import queue
import threading

from protonova.services.compute.virt.driver import EventCallback, GuestEvent

LOG = logging.getLogger(__name__)


class Courier:
    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[list[EventCallback], GuestEvent]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def send(self, callbacks: list[EventCallback], event: GuestEvent) -> None:
        if self._thread is None:
            with self._guard:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="fake-events", daemon=True)
                    self._thread.start()
        self._queue.put((callbacks, event))

    def _run(self) -> None:
        while True:
            callbacks, event = self._queue.get()
            for callback in callbacks:
                try:
                    callback(event)
                except Exception:
                    LOG.exception("An event callback failed on %s", event)


COURIER = Courier()
