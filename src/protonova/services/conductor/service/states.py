"""The calls of ServerService about what a server does where it is: pause, suspend, rescue, rebuild and the like."""

from __future__ import annotations

import grpc

from protonova.common.v1.server_pb2 import PowerState, VmState
from protonova.compute.v1 import guest_pb2
from protonova.conductor.v1 import server_pb2 as pb
from protonova.conductor.v1 import server_pb2_grpc
from protonova.services.conductor import actions
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import agent, rebuild, rescue
from protonova.services.conductor.service.begin import Beginnings
from protonova.services.conductor.states import power_state_name
from protonova.services.runtime import context as contexts
from protonova.services.runtime import errors

# Seconds.
_PATIENCE = 30.0
_RESETS_TO = (VmState.VM_STATE_ACTIVE, VmState.VM_STATE_ERROR)


class ServerStates(server_pb2_grpc.ServerServiceServicer):
    _cell: Cell
    _begin: Beginnings

    def PauseServer(
        self, request: pb.PauseServerRequest, context: grpc.ServicerContext
    ) -> pb.PauseServerResponse:
        self._begin.action(actions.PAUSE, request.id)
        return pb.PauseServerResponse()

    def UnpauseServer(
        self, request: pb.UnpauseServerRequest, context: grpc.ServicerContext
    ) -> pb.UnpauseServerResponse:
        self._begin.action(actions.UNPAUSE, request.id)
        return pb.UnpauseServerResponse()

    def SuspendServer(
        self, request: pb.SuspendServerRequest, context: grpc.ServicerContext
    ) -> pb.SuspendServerResponse:
        self._begin.action(actions.SUSPEND, request.id)
        return pb.SuspendServerResponse()

    def ResumeServer(
        self, request: pb.ResumeServerRequest, context: grpc.ServicerContext
    ) -> pb.ResumeServerResponse:
        self._begin.action(actions.RESUME, request.id)
        return pb.ResumeServerResponse()

    def TriggerCrashDump(
        self, request: pb.TriggerCrashDumpRequest, context: grpc.ServicerContext
    ) -> pb.TriggerCrashDumpResponse:
        self._begin.action(actions.CRASH_DUMP, request.id)
        return pb.TriggerCrashDumpResponse()

    def ResetServerState(
        self, request: pb.ResetServerStateRequest, context: grpc.ServicerContext
    ) -> pb.ResetServerStateResponse:
        if request.vm_state not in _RESETS_TO:
            raise errors.InvalidArgument(
                "A server's state can be reset to active or error.", reason="FIELD_INVALID", field="vm_state"
            )
        self._begin.reset_state(request.id, request.vm_state)
        return pb.ResetServerStateResponse()

    def RestoreServer(
        self, request: pb.RestoreServerRequest, context: grpc.ServicerContext
    ) -> pb.RestoreServerResponse:
        self._begin.action(actions.RESTORE, request.id)
        return pb.RestoreServerResponse()

    def RescueServer(
        self, request: pb.RescueServerRequest, context: grpc.ServicerContext
    ) -> pb.RescueServerResponse:
        kept = pb.ServerBuild(admin_password=request.admin_password)
        kept.server.image.CopyFrom(request.image)
        self._begin.action(actions.RESCUE, request.id, kept=kept, alter=rescue.check_volumes)
        return pb.RescueServerResponse()

    def UnrescueServer(
        self, request: pb.UnrescueServerRequest, context: grpc.ServicerContext
    ) -> pb.UnrescueServerResponse:
        self._begin.action(actions.UNRESCUE, request.id)
        return pb.UnrescueServerResponse()

    def RebuildServer(
        self, request: pb.RebuildServerRequest, context: grpc.ServicerContext
    ) -> pb.RebuildServerResponse:
        kept = pb.ServerBuild(admin_password=request.admin_password, files=request.files)
        self._begin.action(
            actions.REBUILD,
            request.id,
            kept=kept,
            alter=lambda server: rebuild.alter_record(server, request),
        )
        server = self._cell.listing.get(request.id, include_deleted=False)
        return pb.RebuildServerResponse(server=server)

    def InjectNetworkInfo(
        self, request: pb.InjectNetworkInfoRequest, context: grpc.ServicerContext
    ) -> pb.InjectNetworkInfoResponse:
        cell = self._cell
        server = cell.db.read(lambda connection: cell.servers.get(connection, request.id))
        actions.check(actions.INJECT_NETWORK, server, contexts.current())
        return pb.InjectNetworkInfoResponse()

    def ChangeServerPassword(
        self, request: pb.ChangeServerPasswordRequest, context: grpc.ServicerContext
    ) -> pb.ChangeServerPasswordResponse:
        kept = pb.ServerBuild(admin_password=request.admin_password)
        operation = self._begin.action(actions.CHANGE_PASSWORD, request.id, kept=kept)
        # Whether the guest took it is what the caller wants to know, so it is waited for as long as it waits.
        self._begin.wait(operation, min(_PATIENCE, (context.time_remaining() or _PATIENCE) / 2))
        return pb.ChangeServerPasswordResponse()

    def GetServerDiagnostics(
        self, request: pb.GetServerDiagnosticsRequest, context: grpc.ServicerContext
    ) -> pb.GetServerDiagnosticsResponse:
        cell = self._cell
        server = cell.db.read(lambda connection: cell.servers.get(connection, request.id))
        actions.check(actions.READ_DIAGNOSTICS, server, contexts.current())
        guests = agent.guests_on(cell, cell.host(server.host), server.host)
        asked = guest_pb2.GetGuestDiagnosticsRequest(host=server.host, server_id=server.id)
        try:
            with agent.calling(server.host):
                return pb.GetServerDiagnosticsResponse(
                    diagnostics=guests.GetGuestDiagnostics(asked).diagnostics
                )
        except errors.Error as error:
            if error.reason not in ("GUEST_NOT_FOUND", "GUEST_IN_WRONG_STATE"):
                raise
            seen = (
                PowerState.POWER_STATE_UNSPECIFIED
                if error.reason == "GUEST_NOT_FOUND"
                else server.power_state
            )
            raise errors.FailedPrecondition(
                f"The guest of server {server.id} does not run.",
                reason="SERVER_STATE",
                server_id=server.id,
                action=actions.READ_DIAGNOSTICS.name,
                attribute="power_state",
                value=error.facts.get("state") or power_state_name(seen),
            ) from error
