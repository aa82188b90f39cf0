"""The calls of GuestService about a guest that stays: pause, suspend, rescue, rebuild and the like."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import grpc

from protonova.compute.v1 import guest_pb2, guest_pb2_grpc
from protonova.services.compute import spec
from protonova.services.compute.hosts import Host, Hosts
from protonova.services.compute.journal import Journal
from protonova.services.compute.long_steps import LongStep
from protonova.services.compute.pinning import Given, Pinning
from protonova.services.compute.steps import as_message, step, there, translated
from protonova.services.compute.virt.driver import (
    Cancelled,
    Driver,
    GuestSpec,
    GuestState,
    PowerState,
    Progress,
)


class GuestStates(guest_pb2_grpc.GuestServiceServicer):
    """See protos/protonova/compute/v1/guest.proto."""

    _hosts: Hosts
    _journal: Journal
    _pinning: Pinning

    def PauseGuest(
        self, request: guest_pb2.PauseGuestRequest, context: grpc.ServicerContext
    ) -> guest_pb2.PauseGuestResponse:
        guest = self._short(request, PowerState.PAUSED, lambda driver: driver.pause(request.server_id))
        return guest_pb2.PauseGuestResponse(guest=guest)

    def UnpauseGuest(
        self, request: guest_pb2.UnpauseGuestRequest, context: grpc.ServicerContext
    ) -> guest_pb2.UnpauseGuestResponse:
        guest = self._short(request, PowerState.RUNNING, lambda driver: driver.unpause(request.server_id))
        return guest_pb2.UnpauseGuestResponse(guest=guest)

    def SuspendGuest(
        self, request: guest_pb2.SuspendGuestRequest, context: grpc.ServicerContext
    ) -> guest_pb2.SuspendGuestResponse:
        guest = self._short(request, PowerState.SUSPENDED, lambda driver: driver.suspend(request.server_id))
        return guest_pb2.SuspendGuestResponse(guest=guest)

    def ResumeGuest(
        self, request: guest_pb2.ResumeGuestRequest, context: grpc.ServicerContext
    ) -> guest_pb2.ResumeGuestResponse:
        guest = self._short(request, PowerState.RUNNING, lambda driver: driver.resume(request.server_id))
        return guest_pb2.ResumeGuestResponse(guest=guest)

    def UnrescueGuest(
        self, request: guest_pb2.UnrescueGuestRequest, context: grpc.ServicerContext
    ) -> guest_pb2.UnrescueGuestResponse:
        guest = self._short(
            request,
            PowerState.RUNNING,
            lambda driver: driver.unrescue(request.server_id, start=request.start),
        )
        return guest_pb2.UnrescueGuestResponse(guest=guest)

    def TriggerGuestCrashDump(
        self, request: guest_pb2.TriggerGuestCrashDumpRequest, context: grpc.ServicerContext
    ) -> guest_pb2.TriggerGuestCrashDumpResponse:
        guest = self._once(request, lambda driver: driver.trigger_crash_dump(request.server_id))
        return guest_pb2.TriggerGuestCrashDumpResponse(guest=guest)

    def SetGuestPassword(
        self, request: guest_pb2.SetGuestPasswordRequest, context: grpc.ServicerContext
    ) -> guest_pb2.SetGuestPasswordResponse:
        guest = self._once(
            request,
            lambda driver: driver.set_password(request.server_id, request.admin_password, request.user),
        )
        return guest_pb2.SetGuestPasswordResponse(guest=guest)

    def GetGuestDiagnostics(
        self, request: guest_pb2.GetGuestDiagnosticsRequest, context: grpc.ServicerContext
    ) -> guest_pb2.GetGuestDiagnosticsResponse:
        driver = self._hosts.get(request.host).driver
        with translated(request.server_id):
            found = driver.diagnostics(request.server_id)
        return guest_pb2.GetGuestDiagnosticsResponse(diagnostics=found)

    def RescueGuest(
        self, request: guest_pb2.RescueGuestRequest, context: grpc.ServicerContext
    ) -> Iterator[guest_pb2.RescueGuestResponse]:
        driver, server = self._hosts.get(request.host).driver, request.server
        self._journal.admit(server.id, request.fence)
        wanted = spec.guest_spec(server, request.admin_password)
        image = spec.image_source(request.image)

        def act(progress: Progress, cancelled: Cancelled) -> guest_pb2.Guest:
            return as_message(driver.rescue(wanted, image, progress, cancelled))

        def told(percent: int, words: str, guest: guest_pb2.Guest | None) -> guest_pb2.RescueGuestResponse:
            return guest_pb2.RescueGuestResponse(progress=percent, stage=words, guest=guest)

        # Not answered from the journal: the driver knows whether the guest is rescued.
        work = LongStep(server.id, act, told, wanted=self._wanted(request.fence, context), ended=_nothing)
        yield from work.run()

    def RebuildGuest(
        self, request: guest_pb2.RebuildGuestRequest, context: grpc.ServicerContext
    ) -> Iterator[guest_pb2.RebuildGuestResponse]:
        host = self._hosts.get(request.host)
        driver, server = host.driver, request.server
        done = self._journal.admit(server.id, request.fence)
        if done is not None and there(driver, server.id) is not None:
            yield guest_pb2.RebuildGuestResponse(progress=100, guest=guest_pb2.Guest.FromString(done))
            return
        # A guest that is there keeps what it has; one that was lost gets what is claimed for it still.
        providers: dict[str, list[str]] = {}
        for device in server.pci_devices:
            if device.provider_id:
                providers.setdefault(device.request_id, []).append(device.provider_id)
        own, wanted, ended = self._with_its_share(host, request, providers)

        def act(progress: Progress, cancelled: Cancelled) -> guest_pb2.Guest:
            state = driver.rebuild(
                wanted,
                request.fence.operation_id,
                preserve_ephemeral=request.preserve_ephemeral,
                start=request.start,
                progress=progress,
                cancelled=cancelled,
            )
            guest = with_what_it_was_given(as_message(state), own)
            self._journal.record(request.fence, guest.SerializeToString())
            return guest

        def told(percent: int, words: str, guest: guest_pb2.Guest | None) -> guest_pb2.RebuildGuestResponse:
            return guest_pb2.RebuildGuestResponse(progress=percent, stage=words, guest=guest)

        work = LongStep(server.id, act, told, wanted=self._wanted(request.fence, context), ended=ended)
        yield from work.run()

    def _with_its_share(
        self,
        host: Host,
        request: guest_pb2.SpawnGuestRequest | guest_pb2.RebuildGuestRequest,
        providers: Mapping[str, Sequence[str]],
    ) -> tuple[Given, GuestSpec, Callable[[], None]]:
        """What a guest that is to be made gets of its host, how it is to be made, and what is to be called when
        that has ended: until the driver has written the share down, it is kept for the guest here."""
        server = request.server
        with translated(server.id):
            given = self._pinning.take(host, server, providers)

        def ended() -> None:
            if given is not None:
                self._pinning.give_back(host, server.id)

        own = given or Given()
        try:
            wanted = spec.guest_spec(server, request.admin_password, request.files, own.topology, own.devices)
        except BaseException:
            ended()
            raise
        return own, wanted, ended

    def _short(
        self,
        request: guest_pb2.PauseGuestRequest
        | guest_pb2.UnpauseGuestRequest
        | guest_pb2.SuspendGuestRequest
        | guest_pb2.ResumeGuestRequest
        | guest_pb2.UnrescueGuestRequest,
        outcome: PowerState,
        act: Callable[[Driver], GuestState],
    ) -> guest_pb2.Guest:
        driver = self._hosts.get(request.host).driver
        return step(self._journal, driver, request.server_id, request.fence, outcome, lambda: act(driver))

    def _once(
        self,
        request: guest_pb2.TriggerGuestCrashDumpRequest | guest_pb2.SetGuestPasswordRequest,
        act: Callable[[Driver], GuestState],
    ) -> guest_pb2.Guest:
        """A step that leaves no trace at the hypervisor: a repeat is answered from the journal alone."""
        driver = self._hosts.get(request.host).driver
        done = self._journal.admit(request.server_id, request.fence)
        if done is not None:
            return guest_pb2.Guest.FromString(done)
        with translated(request.server_id):
            guest = as_message(act(driver))
        self._journal.record(request.fence, guest.SerializeToString())
        return guest

    def _wanted(self, fence: guest_pb2.Fence, context: grpc.ServicerContext) -> Callable[[], bool]:
        return lambda: bool(context.is_active()) and self._journal.still_held(fence)


def with_what_it_was_given(guest: guest_pb2.Guest, own: Given) -> guest_pb2.Guest:
    """Of the host's CPUs, pages and devices."""
    if own.topology is not None:
        guest.numa_topology.CopyFrom(own.topology)
    guest.pci_devices.extend(own.devices)
    return guest


def _nothing() -> None:
    """A step that keeps nothing while it runs."""
