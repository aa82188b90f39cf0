"""The part of our own compute agents that changes what guests do where they are."""

from __future__ import annotations

from typing import Any

from protonova.common.v1.server_pb2 import PowerState
from protonova.compute.v1 import guest_pb2 as pb
from protonova.compute.v1 import guest_pb2_grpc
from protonova.services.runtime import errors


class GuestStates(guest_pb2_grpc.GuestServiceServicer):
    """`rescued` and `rebuilt` are by server id what the guests were booted from or made of."""

    def __init__(self) -> None:
        self.rescued: dict[str, str] = {}
        self.rebuilt: dict[str, pb.RebuildGuestRequest] = {}
        self.passwords: dict[str, tuple[str, str]] = {}

    def _called(self, method: str, request: Any, context: Any, state: Any = None) -> pb.Guest:
        self.enter(method, request.host, request.server_id, request.fence, context)
        if state is not None:
            return self._power(request, state)
        with self.lock:
            return self._there(request.host, request.server_id)

    def PauseGuest(self, request, context):
        guest = self._called("PauseGuest", request, context, PowerState.POWER_STATE_PAUSED)
        return pb.PauseGuestResponse(guest=guest)

    def UnpauseGuest(self, request, context):
        guest = self._called("UnpauseGuest", request, context, PowerState.POWER_STATE_RUNNING)
        return pb.UnpauseGuestResponse(guest=guest)

    def SuspendGuest(self, request, context):
        guest = self._called("SuspendGuest", request, context, PowerState.POWER_STATE_SUSPENDED)
        return pb.SuspendGuestResponse(guest=guest)

    def ResumeGuest(self, request, context):
        guest = self._called("ResumeGuest", request, context, PowerState.POWER_STATE_RUNNING)
        return pb.ResumeGuestResponse(guest=guest)

    def TriggerGuestCrashDump(self, request, context):
        guest = self._called("TriggerGuestCrashDump", request, context)
        return pb.TriggerGuestCrashDumpResponse(guest=guest)

    def GetGuestDiagnostics(self, request, context):
        self.enter("GetGuestDiagnostics", request.host, request.server_id, None, context)
        guest = self._there(request.host, request.server_id)
        if guest.power_state != PowerState.POWER_STATE_RUNNING:
            raise errors.FailedPrecondition("It is off.", reason="GUEST_IN_WRONG_STATE", state="shutdown")
        answer = pb.GetGuestDiagnosticsResponse()
        answer.diagnostics.power_state = guest.power_state
        answer.diagnostics.cpus.add(id=0, time=7)
        return answer

    def SetGuestPassword(self, request, context):
        guest = self._called("SetGuestPassword", request, context)
        self.passwords[request.server_id] = (request.user, request.admin_password)
        return pb.SetGuestPasswordResponse(guest=guest)

    def RescueGuest(self, request, context):
        self.enter("RescueGuest", request.host, request.server.id, request.fence, context)
        yield pb.RescueGuestResponse(progress=10, stage="image")
        with self.lock:
            guest = self._there(request.host, request.server.id)
            guest.power_state = PowerState.POWER_STATE_RUNNING
            self.rescued[request.server.id] = request.image.id
        yield pb.RescueGuestResponse(progress=100, guest=guest)

    def UnrescueGuest(self, request, context):
        running = PowerState.POWER_STATE_RUNNING
        off = PowerState.POWER_STATE_SHUTDOWN
        self._called("UnrescueGuest", request, context)
        was = self.rescued.pop(request.server_id, "")
        if request.start or was:
            return pb.UnrescueGuestResponse(guest=self._power(request, running if request.start else off))
        return pb.UnrescueGuestResponse(guest=self._there(request.host, request.server_id))

    def RebuildGuest(self, request, context):
        self.enter("RebuildGuest", request.host, request.server.id, request.fence, context)
        yield pb.RebuildGuestResponse(progress=10, stage="image")
        state = PowerState.POWER_STATE_RUNNING if request.start else PowerState.POWER_STATE_SHUTDOWN
        with self.lock:
            self.be_the_newest(request.server.id, request.fence)
            self.rebuilt[request.server.id] = request
            guest = self.guests.setdefault(
                (request.host, request.server.id), pb.Guest(server_id=request.server.id)
            )
            guest.power_state = state
            guest.root_device_name = "/dev/vda"
        yield pb.RebuildGuestResponse(progress=100, guest=guest)
