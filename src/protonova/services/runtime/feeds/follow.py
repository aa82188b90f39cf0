"""The watcher's side: follows another service's watch stream for ever, through every break."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import Any

from protonova.services.runtime import context, errors

_log = logging.getLogger("protonova.feeds")

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0


def follow(
    stub_method: Callable[..., Any],
    make_request: Callable[[int], Any],
    on_event: Callable[[Any], object],
    stop: threading.Event,
    *,
    on_connect: Callable[[], object] | None = None,
) -> None:
    """Calls `stub_method(make_request(revision))` again and again and hands every response to `on_event`,
    until `stop` is set.

    Responses have `revision` (0 within a snapshot) and a oneof `change`. A stream that sends `snapshot_end`
    has told of everything there is: what `on_event` was given since the last `on_connect` is then all; a
    stream that resumes does not send it.
    """
    follower = Follower(stub_method, make_request, on_event, on_connect=on_connect, stop=stop)
    follower.run()


class Follower:
    """Follows in a thread of its own. `synced` is set when a first snapshot was received whole."""

    def __init__(
        self,
        stub_method: Callable[..., Any],
        make_request: Callable[[int], Any],
        on_event: Callable[[Any], object],
        *,
        on_connect: Callable[[], object] | None = None,
        stop: threading.Event | None = None,
        name: str = "follower",
    ) -> None:
        self.synced = threading.Event()
        self.revision = 0
        self._stub_method = stub_method
        self._make_request = make_request
        self._on_event = on_event
        self._on_connect = on_connect
        self._stop = stop or threading.Event()
        self._name = name
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._stream: Any = None

    def start(self) -> None:
        ctx = context.current()

        def work() -> None:
            context.enter(ctx)
            self.run()

        self._thread = threading.Thread(target=work, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._cancel()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def run(self) -> None:
        """Follows in the calling thread until stopped."""
        # A stream that says nothing can only be left from outside.
        threading.Thread(target=self._leave, name=f"{self._name}-stop", daemon=True).start()
        pause = _FIRST_PAUSE
        while not self._stop.is_set():
            before = self.revision
            try:
                self._follow_once()
            except errors.Error as error:
                if not self._stop.is_set():
                    _log.info("%s: the stream broke: %s", self._name, error)
            except Exception:  # noqa: BLE001 - one bad event must not end the following
                _log.exception("%s: an event cannot be taken in", self._name)
                self.revision = 0
            pause = _FIRST_PAUSE if self.revision > before else min(pause * 2, _LONGEST_PAUSE)
            self._stop.wait(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter

    def _follow_once(self) -> None:
        stream = self._stub_method(self._make_request(self.revision))
        with self._lock:
            self._stream = stream
        if self._stop.is_set():
            stream.cancel()
            return
        if self._on_connect is not None:
            self._on_connect()
        for response in stream:
            self._on_event(response)
            if response.revision:
                self.revision = response.revision
            if response.WhichOneof("change") == "snapshot_end":
                self.synced.set()

    def _leave(self) -> None:
        self._stop.wait()
        self._cancel()

    def _cancel(self) -> None:
        with self._lock:
            if self._stream is not None:
                self._stream.cancel()
