"""The GuestService: a cell's conductor tells, the driver does.

Here nothing is decided about servers. A call is let in by the journal (fencing), a repeated step is answered
from it as long as the hypervisor agrees, and driver errors become typed errors of the contract.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc

from protonova.compute.v1 import guest_pb2, guest_pb2_grpc
from protonova.services.compute import spec
from protonova.services.compute.hosts import Hosts
from protonova.services.compute.journal import Journal
from protonova.services.compute.virt import errors as virt_errors
from protonova.services.compute.virt.driver import Driver, GuestSpec, GuestState, PowerState
from protonova.services.runtime import errors

_CONSOLE_BYTES = 100 * 1024


class GuestServicer(guest_pb2_grpc.GuestServiceServicer):
    """See protos/protonova/compute/v1/guest.proto."""

    def __init__(self, hosts: Hosts, journal: Journal) -> None:
        self._hosts = hosts
        self._journal = journal

    def SpawnGuest(
        self, request: guest_pb2.SpawnGuestRequest, context: grpc.ServicerContext
    ) -> Iterator[guest_pb2.SpawnGuestResponse]:
        driver = self._hosts.get(request.host).driver
        server = request.server
        done = self._journal.admit(server.id, request.fence)
        if done is not None and (state := _there(driver, server.id)) is not None:
            guest = guest_pb2.Guest.FromString(done)
            guest.power_state = spec.power_state(state.power_state)
            yield guest_pb2.SpawnGuestResponse(progress=100, guest=guest)
            return
        wanted = spec.guest_spec(server, request.admin_password, request.files)
        held = lambda: self._journal.still_held(request.fence)  # noqa: E731
        for told in _Spawn(driver, wanted, held, context.is_active).run():
            if told.HasField("guest"):
                self._journal.record(request.fence, told.guest.SerializeToString())
            yield told

    def DestroyGuest(
        self, request: guest_pb2.DestroyGuestRequest, context: grpc.ServicerContext
    ) -> guest_pb2.DestroyGuestResponse:
        driver = self._hosts.get(request.host).driver
        done = self._journal.admit(request.server_id, request.fence)
        if done is None or _there(driver, request.server_id) is not None:
            with _translated(request.server_id):
                driver.destroy(request.server_id)
            self._journal.record(request.fence, b"")
        return guest_pb2.DestroyGuestResponse()

    def StartGuest(
        self, request: guest_pb2.StartGuestRequest, context: grpc.ServicerContext
    ) -> guest_pb2.StartGuestResponse:
        driver = self._hosts.get(request.host).driver
        guest = self._step(
            driver,
            request.server_id,
            request.fence,
            PowerState.RUNNING,
            lambda: driver.power_on(request.server_id),
        )
        return guest_pb2.StartGuestResponse(guest=guest)

    def StopGuest(
        self, request: guest_pb2.StopGuestRequest, context: grpc.ServicerContext
    ) -> guest_pb2.StopGuestResponse:
        driver = self._hosts.get(request.host).driver
        guest = self._step(
            driver,
            request.server_id,
            request.fence,
            PowerState.SHUTDOWN,
            lambda: driver.power_off(
                request.server_id, timeout=request.timeout_seconds, graceful=request.timeout_seconds > 0
            ),
        )
        return guest_pb2.StopGuestResponse(guest=guest)

    def RebootGuest(
        self, request: guest_pb2.RebootGuestRequest, context: grpc.ServicerContext
    ) -> guest_pb2.RebootGuestResponse:
        driver = self._hosts.get(request.host).driver
        guest = self._step(
            driver, request.server_id, request.fence, PowerState.RUNNING, lambda: _reboot(driver, request)
        )
        return guest_pb2.RebootGuestResponse(guest=guest)

    def GetGuestConsoleOutput(
        self, request: guest_pb2.GetGuestConsoleOutputRequest, context: grpc.ServicerContext
    ) -> guest_pb2.GetGuestConsoleOutputResponse:
        driver = self._hosts.get(request.host).driver
        with _translated(request.server_id):
            output = driver.console_output(request.server_id, _CONSOLE_BYTES)
        if request.HasField("length"):
            output = _last_lines(output, request.length)
        return guest_pb2.GetGuestConsoleOutputResponse(output=output)

    def ListGuests(
        self, request: guest_pb2.ListGuestsRequest, context: grpc.ServicerContext
    ) -> guest_pb2.ListGuestsResponse:
        with _translated(""):
            states = self._hosts.get(request.host).driver.guests()
        return guest_pb2.ListGuestsResponse(guests=[_guest(state) for state in states])

    def _step(
        self,
        driver: Driver,
        server_id: str,
        fence: guest_pb2.Fence,
        outcome: PowerState,
        act: Callable[[], GuestState],
    ) -> guest_pb2.Guest:
        """Does a short step once. A repeat is answered from the journal while the guest is as it left it."""
        done = self._journal.admit(server_id, fence)
        if done is not None:
            state = _there(driver, server_id)
            if state is not None and state.power_state is outcome:
                return guest_pb2.Guest.FromString(done)
        with _translated(server_id):
            guest = _guest(act())
        self._journal.record(fence, guest.SerializeToString())
        return guest


class _Spawn:
    """Runs a driver's spawn in a thread of its own and hands its progress to the stream."""

    def __init__(
        self, driver: Driver, wanted: GuestSpec, held: Callable[[], bool], listening: Callable[[], bool]
    ) -> None:
        self._driver = driver
        self._wanted = wanted
        self._held = held
        self._listening = listening
        self._told: queue.SimpleQueue[guest_pb2.SpawnGuestResponse | BaseException] = queue.SimpleQueue()

    def run(self) -> Iterator[guest_pb2.SpawnGuestResponse]:
        threading.Thread(target=self._work, name=f"spawn-{self._wanted.server_id}", daemon=True).start()
        while True:
            item = self._told.get()
            if isinstance(item, BaseException):
                raise item
            yield item
            if item.HasField("guest"):
                return

    def _work(self) -> None:
        try:
            with _translated(self._wanted.server_id):
                state = self._driver.spawn(self._wanted, self._progress, self._cancelled)
        except Exception as error:  # noqa: BLE001 - handed over to the thread that answers the call
            self._told.put(error)
        else:
            self._told.put(guest_pb2.SpawnGuestResponse(progress=100, guest=_guest(state)))

    def _progress(self, percent: int, text: str) -> None:
        self._told.put(guest_pb2.SpawnGuestResponse(progress=percent, stage=text))

    def _cancelled(self) -> bool:
        return not (self._listening() and self._held())


def _reboot(driver: Driver, request: guest_pb2.RebootGuestRequest) -> GuestState:
    """A guest that does not obey a soft reboot in time gets a hard one, as its users expect."""
    if not request.hard:
        try:
            return driver.reboot(request.server_id, hard=False, timeout=request.timeout_seconds)
        except (virt_errors.GuestUnresponsive, virt_errors.GuestInWrongState):
            pass
    return driver.reboot(request.server_id, hard=True)


def _there(driver: Driver, server_id: str) -> GuestState | None:
    try:
        with _translated(server_id):
            return driver.guest(server_id)
    except errors.NotFound:
        return None


def _guest(state: GuestState) -> guest_pb2.Guest:
    return guest_pb2.Guest(
        server_id=state.server_id,
        power_state=spec.power_state(state.power_state),
        instance_name=state.name,
        root_device_name=state.root_device,
    )


def _last_lines(output: bytes, count: int) -> bytes:
    return b"\n".join(output.splitlines()[-count:]) + b"\n" if count > 0 else b""


@contextmanager
def _translated(server_id: str) -> Iterator[None]:
    """Driver errors as errors of the contract."""
    try:
        yield
    except virt_errors.DriverError as error:
        facts = {**error.facts, "server_id": server_id}
        if isinstance(error, virt_errors.GuestNotFound):
            kind: type[errors.Error] = errors.NotFound
        elif isinstance(error, virt_errors.Cancelled):
            kind = errors.Aborted
        elif error.transient:
            kind = errors.Unavailable
        else:
            kind = errors.FailedPrecondition
        reason = "HOST_REFUSES" if error.reschedule else error.reason
        raise kind(error.message, reason=reason, **facts) from error
