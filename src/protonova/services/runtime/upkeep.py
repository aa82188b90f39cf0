"""What a service does again and again by itself: each kind of work in a thread of its own, on its own beat.

The first pass comes after a part of the interval that is left to chance, so that replicas started together do not
work together. Operators see all of it, and can have a pass made at once (`UpkeepService`).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

import grpc

from protonova.common.v1 import upkeep_pb2 as pb
from protonova.common.v1 import upkeep_pb2_grpc
from protonova.services.runtime import context, errors, telemetry
from protonova.services.runtime.server import Server

_log = logging.getLogger("protonova.upkeep")


class Work:
    """`do` makes a pass and says how many things it acted on. Several replicas may run it at once, one never does
    twice at once. An `interval` of 0 seconds or less = only when told to."""

    def __init__(self, name: str, description: str, interval: float, do: Callable[[], int]) -> None:
        self._do = do
        self._turn = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._shown = pb.Upkeep(name=name, description=description, interval_seconds=max(interval, 0.0))

    @property
    def name(self) -> str:
        return self._shown.name

    def start(self) -> None:
        if self._shown.interval_seconds:
            self._thread = threading.Thread(target=self._run, name=f"upkeep-{self.name}", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """A pass under way is not waited for long: nothing depends on how it ends."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=1.0)

    def show(self) -> pb.Upkeep:
        shown = pb.Upkeep()
        shown.CopyFrom(self._shown)
        return shown

    def once(self) -> pb.Upkeep:
        """A pass, now. Raises what the work raises."""
        with self._turn, context.use(context.internal("upkeep")):
            begun, self._shown.last_error = time.monotonic(), ""
            self._shown.last_started_at.GetCurrentTime()
            try:
                self._shown.last_count = self._do()
            except Exception as error:
                self._shown.last_error = str(error) or type(error).__name__
                raise
            finally:
                self._shown.passes += 1
                self._shown.last_seconds = time.monotonic() - begun
                result = "failed" if self._shown.last_error else "done"
                telemetry.UPKEEP_SECONDS.labels(self.name, result).observe(self._shown.last_seconds)
            return self.show()

    def _run(self) -> None:
        interval = self._shown.interval_seconds
        pause = interval * random.uniform(0.1, 1.0)  # noqa: S311 - nobody guesses it for gain
        while not self._stopping.wait(pause):
            pause = interval
            try:
                self.once()
            except errors.Error as error:
                if not self._stopping.is_set():
                    _log.warning("The upkeep %s is put off: %s", self.name, error)
            except Exception:  # noqa: BLE001 - one pass that goes wrong must not be the last
                if not self._stopping.is_set():
                    _log.exception("The upkeep %s failed", self.name)


class Upkeep(upkeep_pb2_grpc.UpkeepServiceServicer):
    """All of a service's work, and what operators see of it."""

    def __init__(self, *works: Work) -> None:
        self._works = {work.name: work for work in sorted(works, key=lambda work: work.name)}

    def serve(self, server: Server) -> None:
        """Begins to work; ends with the server."""
        server.add(upkeep_pb2_grpc.add_UpkeepServiceServicer_to_server, self)
        for work in self._works.values():
            server.on_stop(work.stop)
            work.start()

    def ListUpkeep(
        self, request: pb.ListUpkeepRequest, context: grpc.ServicerContext
    ) -> pb.ListUpkeepResponse:
        return pb.ListUpkeepResponse(upkeep=[work.show() for work in self._works.values()])

    def RunUpkeep(self, request: pb.RunUpkeepRequest, context: grpc.ServicerContext) -> pb.RunUpkeepResponse:
        work = self._works.get(request.name)
        if work is None:
            raise errors.NotFound(
                f"There is no upkeep '{request.name}'.", reason="UPKEEP_NOT_FOUND", name=request.name
            )
        return pb.RunUpkeepResponse(upkeep=work.once())
