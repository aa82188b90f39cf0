"""Steps that take long: the driver works in a thread of its own while the stream tells how far it is."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from google.protobuf.message import Message

from protonova.compute.v1 import guest_pb2
from protonova.services.compute.steps import translated
from protonova.services.compute.virt.driver import Cancelled, Progress

T = TypeVar("T", bound=Message)


class LongStep(Generic[T]):
    """`act` does it and says what the guest is; `told` makes a message of the stream of (percent, words, guest)."""

    def __init__(
        self,
        server_id: str,
        act: Callable[[Progress, Cancelled], guest_pb2.Guest],
        told: Callable[[int, str, guest_pb2.Guest | None], T],
        *,
        wanted: Callable[[], bool],
        ended: Callable[[], None],
    ) -> None:
        """`wanted` is asked by the driver now and then; `ended` is called when it works no more."""
        self._server_id = server_id
        self._act = act
        self._message = told
        self._wanted = wanted
        self._ended = ended
        self._told: queue.SimpleQueue[T | BaseException] = queue.SimpleQueue()

    def run(self) -> Iterator[T]:
        threading.Thread(target=self._work, name=f"guest-{self._server_id}", daemon=True).start()
        while True:
            item = self._told.get()
            if isinstance(item, BaseException):
                raise item
            yield item
            if item.HasField("guest"):
                return

    def _work(self) -> None:
        outcome: T | BaseException
        try:
            with translated(self._server_id):
                guest = self._act(self._progress, lambda: not self._wanted())
        except Exception as error:  # noqa: BLE001 - handed over to the thread that answers the call
            outcome = error
        else:
            outcome = self._message(100, "", guest)
        # Told here, not by the caller's thread: a caller may be gone long before the driver has noticed.
        self._ended()
        self._told.put(outcome)

    def _progress(self, percent: int, text: str) -> None:
        self._told.put(self._message(percent, text, None))
