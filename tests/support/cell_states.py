"""The part of a cell of our own that changes the states of servers."""

from __future__ import annotations

from protonova.common.v1 import server_pb2 as common
from protonova.conductor.v1 import server_pb2, server_pb2_grpc


class CellStates(server_pb2_grpc.ServerServiceServicer):
    """What was asked stands in the cell's `asked`, the newest last."""

    def _become(self, request, state: common.VmState.ValueType) -> None:
        self._cell.asked.append(request)
        self._get(request.id).vm_state = state

    def PauseServer(self, request, context):
        self._become(request, common.VM_STATE_PAUSED)
        return server_pb2.PauseServerResponse()

    def UnpauseServer(self, request, context):
        self._become(request, common.VM_STATE_ACTIVE)
        return server_pb2.UnpauseServerResponse()

    def SuspendServer(self, request, context):
        self._become(request, common.VM_STATE_SUSPENDED)
        return server_pb2.SuspendServerResponse()

    def ResumeServer(self, request, context):
        self._become(request, common.VM_STATE_ACTIVE)
        return server_pb2.ResumeServerResponse()

    def UnrescueServer(self, request, context):
        self._become(request, common.VM_STATE_ACTIVE)
        return server_pb2.UnrescueServerResponse()

    def TriggerCrashDump(self, request, context):
        self._become(request, self._get(request.id).vm_state)
        return server_pb2.TriggerCrashDumpResponse()

    def ResetServerState(self, request, context):
        self._become(request, request.vm_state)
        return server_pb2.ResetServerStateResponse()

    def ChangeServerPassword(self, request, context):
        self._become(request, self._get(request.id).vm_state)
        return server_pb2.ChangeServerPasswordResponse()

    def InjectNetworkInfo(self, request, context):
        self._become(request, self._get(request.id).vm_state)
        return server_pb2.InjectNetworkInfoResponse()

    def GetServerDiagnostics(self, request, context):
        self._become(request, self._get(request.id).vm_state)
        answer = server_pb2.GetServerDiagnosticsResponse()
        answer.diagnostics.cpus.add(id=0)
        return answer

    def RestoreServer(self, request, context):
        self._become(request, common.VM_STATE_ACTIVE)
        return server_pb2.RestoreServerResponse()

    def RescueServer(self, request, context):
        self._become(request, common.VM_STATE_RESCUED)
        return server_pb2.RescueServerResponse()

    def RebuildServer(self, request, context):
        self._become(request, common.VM_STATE_ACTIVE)
        return server_pb2.RebuildServerResponse(server=self._get(request.id))
