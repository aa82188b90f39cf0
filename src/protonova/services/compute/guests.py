"""The GuestService: a cell's conductor tells, the driver does.

Here nothing is decided about servers. A call is let in by the journal (fencing), a repeated step is answered
from it as long as the hypervisor agrees, and driver errors become typed errors of the contract.
"""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from protonova.compute.v1 import guest_pb2
from protonova.services.compute import spec
from protonova.services.compute.guest_states import GuestStates, with_what_it_was_given
from protonova.services.compute.hosts import Hosts
from protonova.services.compute.journal import Journal
from protonova.services.compute.long_steps import LongStep
from protonova.services.compute.pinning import Pinning
from protonova.services.compute.steps import as_message, step, there, translated
from protonova.services.compute.virt import errors as virt_errors
from protonova.services.compute.virt.driver import (
    Cancelled,
    Driver,
    GuestState,
    PowerState,
    Progress,
)

_CONSOLE_BYTES = 100 * 1024


class GuestServicer(GuestStates):
    """See protos/protonova/compute/v1/guest.proto."""

    def __init__(self, hosts: Hosts, journal: Journal, pinning: Pinning) -> None:
        self._hosts = hosts
        self._journal = journal
        self._pinning = pinning

    def SpawnGuest(
        self, request: guest_pb2.SpawnGuestRequest, context: grpc.ServicerContext
    ) -> Iterator[guest_pb2.SpawnGuestResponse]:
        host = self._hosts.get(request.host)
        driver, server = host.driver, request.server
        done = self._journal.admit(server.id, request.fence)
        if done is not None and (state := there(driver, server.id)) is not None:
            guest = guest_pb2.Guest.FromString(done)
            guest.power_state = spec.power_state(state.power_state)
            if (topology := driver.topologies().get(server.id)) is not None:
                guest.numa_topology.CopyFrom(topology)
            if devices := driver.devices_held().get(server.id):
                del guest.pci_devices[:]
                guest.pci_devices.extend(devices)
            yield guest_pb2.SpawnGuestResponse(progress=100, guest=guest)
            return
        providers = {key: list(some.provider_ids) for key, some in request.pci_providers.items()}
        own, wanted, ended = self._with_its_share(host, request, providers)

        def act(progress: Progress, cancelled: Cancelled) -> guest_pb2.Guest:
            return with_what_it_was_given(as_message(driver.spawn(wanted, progress, cancelled)), own)

        def told(percent: int, words: str, guest: guest_pb2.Guest | None) -> guest_pb2.SpawnGuestResponse:
            return guest_pb2.SpawnGuestResponse(progress=percent, stage=words, guest=guest)

        work = LongStep(server.id, act, told, wanted=self._wanted(request.fence, context), ended=ended)
        for message in work.run():
            if message.HasField("guest"):
                self._journal.record(request.fence, message.guest.SerializeToString())
            yield message

    def DestroyGuest(
        self, request: guest_pb2.DestroyGuestRequest, context: grpc.ServicerContext
    ) -> guest_pb2.DestroyGuestResponse:
        driver = self._hosts.get(request.host).driver
        done = self._journal.admit(request.server_id, request.fence)
        if done is None or there(driver, request.server_id) is not None:
            held = request.server_id in {**driver.topologies(), **driver.devices_held()}
            with translated(request.server_id):
                driver.destroy(request.server_id)
            self._journal.record(request.fence, b"")
            if held:
                self._pinning.changed()
        return guest_pb2.DestroyGuestResponse()

    def StartGuest(
        self, request: guest_pb2.StartGuestRequest, context: grpc.ServicerContext
    ) -> guest_pb2.StartGuestResponse:
        driver = self._hosts.get(request.host).driver
        guest = step(
            self._journal,
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
        guest = step(
            self._journal,
            driver,
            request.server_id,
            request.fence,
            PowerState.SHUTDOWN,
            lambda: _stop(driver, request),
        )
        return guest_pb2.StopGuestResponse(guest=guest)

    def RebootGuest(
        self, request: guest_pb2.RebootGuestRequest, context: grpc.ServicerContext
    ) -> guest_pb2.RebootGuestResponse:
        driver = self._hosts.get(request.host).driver
        guest = step(
            self._journal,
            driver,
            request.server_id,
            request.fence,
            PowerState.RUNNING,
            lambda: _reboot(driver, request),
        )
        return guest_pb2.RebootGuestResponse(guest=guest)

    def GetGuestConsoleOutput(
        self, request: guest_pb2.GetGuestConsoleOutputRequest, context: grpc.ServicerContext
    ) -> guest_pb2.GetGuestConsoleOutputResponse:
        driver = self._hosts.get(request.host).driver
        with translated(request.server_id):
            output = driver.console_output(request.server_id, _CONSOLE_BYTES)
        if request.HasField("length"):
            output = _last_lines(output, request.length)
        return guest_pb2.GetGuestConsoleOutputResponse(output=output)

    def ListGuests(
        self, request: guest_pb2.ListGuestsRequest, context: grpc.ServicerContext
    ) -> guest_pb2.ListGuestsResponse:
        with translated(""):
            states = self._hosts.get(request.host).driver.guests()
        return guest_pb2.ListGuestsResponse(guests=[as_message(state) for state in states])


def _stop(driver: Driver, request: guest_pb2.StopGuestRequest) -> GuestState:
    if request.only_in:
        state = driver.guest(request.server_id)
        if spec.power_state(state.power_state) not in request.only_in:
            return state
    patience = request.timeout_seconds
    return driver.power_off(request.server_id, timeout=patience, graceful=patience > 0)


def _reboot(driver: Driver, request: guest_pb2.RebootGuestRequest) -> GuestState:
    """A guest that does not obey a soft reboot in time gets a hard one, as its users expect."""
    if not request.hard:
        try:
            return driver.reboot(request.server_id, hard=False, timeout=request.timeout_seconds)
        except (virt_errors.GuestUnresponsive, virt_errors.GuestInWrongState):
            pass
    return driver.reboot(request.server_id, hard=True)


def _last_lines(output: bytes, count: int) -> bytes:
    """Parted by newlines as a reader will part them: none stands behind the last line."""
    return b"\n".join(output.removesuffix(b"\n").split(b"\n")[-count:]) if count > 0 else b""
