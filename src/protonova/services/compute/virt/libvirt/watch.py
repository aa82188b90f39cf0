"""Changes of our guests, as libvirt reports them: to those who listen and to calls that wait for one.

libvirt calls back in its event thread, where it may not be asked anything; so its events only enter a queue
there, and a thread of ours takes them from it. When the connection breaks that thread opens it again, and
listeners are told to compare, since events may be missing.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import libvirt

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import EventCallback, GuestEvent, GuestEventKind, PowerState

LOG = logging.getLogger(__name__)

_REBOOTED = -1
# Something of a guest's devices has changed: those who wait look for themselves.
_DEVICE = -2
_RECONNECT_SECONDS = 2.0

_POWER = {
    libvirt.VIR_DOMAIN_NOSTATE: PowerState.NOSTATE,
    libvirt.VIR_DOMAIN_RUNNING: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: PowerState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: PowerState.RUNNING,  # on its way down, but it still runs
    libvirt.VIR_DOMAIN_SHUTOFF: PowerState.SHUTDOWN,
    libvirt.VIR_DOMAIN_CRASHED: PowerState.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: PowerState.SUSPENDED,
}

_MAY_BE_THE_END = (GuestEventKind.STOPPED, GuestEventKind.CRASHED, GuestEventKind.DELETED)
_STOPPED_BADLY = (libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED, libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED)


def power_state(state: int, reason: int) -> PowerState:
    if state == libvirt.VIR_DOMAIN_SHUTOFF and reason in (
        libvirt.VIR_DOMAIN_SHUTOFF_CRASHED,
        libvirt.VIR_DOMAIN_SHUTOFF_FAILED,
    ):
        return PowerState.CRASHED
    return _POWER.get(state, PowerState.NOSTATE)


def event_of(server_id: str, event: int, detail: int) -> GuestEvent | None:
    """Our word for one of libvirt's lifecycle events, None for those that change nothing."""
    kind, power = {
        libvirt.VIR_DOMAIN_EVENT_STARTED: (GuestEventKind.STARTED, PowerState.RUNNING),
        libvirt.VIR_DOMAIN_EVENT_SUSPENDED: (GuestEventKind.PAUSED, PowerState.PAUSED),
        libvirt.VIR_DOMAIN_EVENT_RESUMED: (GuestEventKind.RESUMED, PowerState.RUNNING),
        libvirt.VIR_DOMAIN_EVENT_STOPPED: (GuestEventKind.STOPPED, PowerState.SHUTDOWN),
        libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: (GuestEventKind.SUSPENDED, PowerState.SUSPENDED),
        libvirt.VIR_DOMAIN_EVENT_CRASHED: (GuestEventKind.CRASHED, PowerState.CRASHED),
        libvirt.VIR_DOMAIN_EVENT_UNDEFINED: (GuestEventKind.DELETED, PowerState.NOSTATE),
    }.get(event, (None, PowerState.NOSTATE))
    if kind is None:
        return None
    if kind is GuestEventKind.STOPPED and detail in _STOPPED_BADLY:
        kind, power = GuestEventKind.CRASHED, PowerState.CRASHED
    elif kind is GuestEventKind.STOPPED and detail == libvirt.VIR_DOMAIN_EVENT_STOPPED_SAVED:
        kind, power = GuestEventKind.SUSPENDED, PowerState.SUSPENDED
    return GuestEvent(kind, server_id, power)


class Waiter:
    """A call that waits for its guest to do something."""

    def __init__(self, changed: threading.Condition) -> None:
        self._changed = changed
        self.reboots = 0  # seen since the waiting began

    def until(self, met: Callable[[], bool], seconds: float) -> bool:
        """Whether the condition is met in time. It is asked anew at every event, and now and then besides, so
        that a lost event costs half a second at most."""
        deadline = time.monotonic() + seconds
        while not met():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            with self._changed:
                self._changed.wait(min(left, 0.5))
        return True


class Watch:
    """`is_ours` tells whether an event of a domain concerns us, `exists` asks the hypervisor whether it is
    still there, `forget` ends the concern."""

    def __init__(
        self,
        is_ours: Callable[[str], bool],
        exists: Callable[[str], bool],
        forget: Callable[[str], None],
    ) -> None:
        self._is_ours = is_ours
        self._forget = forget
        self._exists = exists
        self._queue: queue.SimpleQueue[tuple[str, int, int] | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._waiters: dict[str, list[Waiter]] = {}
        self._callbacks: list[EventCallback] = []
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._reconnect: Callable[[], object] = lambda: None
        self._line_lost = False
        self._registered: list[int] = []

    def start(self, reconnect: Callable[[], object]) -> None:
        self._reconnect = reconnect
        self._thread = threading.Thread(target=self._run, name="guest-events", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._queue.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5)

    def listen(self, callback: EventCallback) -> Callable[[], None]:
        with self._changed:
            self._callbacks.append(callback)

        def end() -> None:
            with self._changed:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)

        return end

    # -- from libvirt's thread ------------------------------------------------------------------------------

    def attach(self, connection: Any) -> None:
        """Have a new connection report to us."""
        register = connection.domainEventRegisterAny
        self._registered = [
            register(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._lifecycle, None),
            register(None, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, self._reboot, None),
            register(None, libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, self._device, None),
            register(None, libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, self._device, None),
            register(None, libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, self._block_job, None),
        ]

    def detach(self, connection: Any) -> None:
        """End that: a connection that still reports is never closed by libvirt."""
        for number in self._registered:
            connection.domainEventDeregisterAny(number)
        self._registered = []

    def line_lost(self) -> None:
        self._line_lost = True
        self._queue.put(None)

    def _lifecycle(self, _connection: Any, domain: Any, event: int, detail: int, _opaque: Any) -> None:
        self._queue.put((domain.UUIDString(), event, detail))

    def _reboot(self, _connection: Any, domain: Any, _opaque: Any) -> None:
        self._queue.put((domain.UUIDString(), _REBOOTED, 0))

    def _device(self, _connection: Any, domain: Any, _alias: str, _opaque: Any) -> None:
        self._queue.put((domain.UUIDString(), _DEVICE, 0))

    def _block_job(self, _connection: Any, domain: Any, _disk: str, _type: int, status: int, _: Any) -> None:
        self._queue.put((domain.UUIDString(), _DEVICE, status))

    # -- waiting --------------------------------------------------------------------------------------------

    @contextmanager
    def on(self, server_id: str) -> Iterator[Waiter]:
        """See the events of a guest from now on, so that what is asked of it next is not missed."""
        waiter = Waiter(self._changed)
        with self._changed:
            self._waiters.setdefault(server_id, []).append(waiter)
        try:
            yield waiter
        finally:
            with self._changed:
                self._waiters[server_id].remove(waiter)
                if not self._waiters[server_id]:
                    del self._waiters[server_id]

    # -- our thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed.is_set():
            item = self._queue.get()
            if self._closed.is_set():
                return
            try:
                if self._line_lost:
                    self._restore()
                if item is not None:
                    self._take(*item)
            except Exception:
                LOG.exception("An event of libvirt could not be handled")

    def _restore(self) -> None:
        self._line_lost = False
        while not self._closed.is_set():
            try:
                self._reconnect()
                break
            except errors.HypervisorUnavailable as error:
                LOG.debug("libvirt is still away: %s", error)
                self._closed.wait(_RECONNECT_SECONDS)
        if not self._closed.is_set():
            LOG.info("libvirt is back")
            self._tell(GuestEvent(GuestEventKind.RESYNC, ""))

    def _take(self, server_id: str, event: int, detail: int) -> None:
        if event == _REBOOTED:
            with self._changed:
                for waiter in self._waiters.get(server_id, ()):
                    waiter.reboots += 1
                self._changed.notify_all()
            return
        with self._changed:
            self._changed.notify_all()
        if event == _DEVICE:
            return
        told = event_of(server_id, event, detail)
        if told is None or not self._is_ours(server_id):
            return
        if told.kind is not GuestEventKind.DELETED:
            self._tell(told)
        # A guest can lose its definition while it runs: it is gone once both are.
        if told.kind in _MAY_BE_THE_END and not self._exists(server_id):
            self._forget(server_id)
            self._tell(GuestEvent(GuestEventKind.DELETED, server_id))

    def _tell(self, event: GuestEvent) -> None:
        with self._changed:
            callbacks = list(self._callbacks)
        for callback in callbacks:
            try:
                callback(event)
            except Exception:
                LOG.exception("An event callback failed on %s", event)
