"""The part of the api service's contract, kept in memory, that changes the states of servers."""

from __future__ import annotations

from typing import Any

from protonova.api.v1 import server_pb2, server_pb2_grpc
from protonova.common.v1 import server_pb2 as common


class ServerStates(server_pb2_grpc.ServerServiceServicer):
    def _changed(self, request: Any, action: str, needs: int, becomes: int) -> None:
        self._enter(request)
        self._change(request.id, action, needs, becomes)

    def PauseServer(self, request, _):
        self._changed(request, "pause", common.VM_STATE_ACTIVE, common.VM_STATE_PAUSED)
        return server_pb2.PauseServerResponse()

    def UnpauseServer(self, request, _):
        self._changed(request, "unpause", common.VM_STATE_PAUSED, common.VM_STATE_ACTIVE)
        return server_pb2.UnpauseServerResponse()

    def SuspendServer(self, request, _):
        self._changed(request, "suspend", common.VM_STATE_ACTIVE, common.VM_STATE_SUSPENDED)
        return server_pb2.SuspendServerResponse()

    def ResumeServer(self, request, _):
        self._changed(request, "resume", common.VM_STATE_SUSPENDED, common.VM_STATE_ACTIVE)
        return server_pb2.ResumeServerResponse()

    def RestoreServer(self, request, _):
        self._changed(request, "restore", common.VM_STATE_SOFT_DELETED, common.VM_STATE_ACTIVE)
        return server_pb2.RestoreServerResponse()

    def UnrescueServer(self, request, _):
        self._changed(request, "unrescue", common.VM_STATE_RESCUED, common.VM_STATE_ACTIVE)
        return server_pb2.UnrescueServerResponse()

    def TriggerCrashDump(self, request, _):
        self._changed(request, "trigger_crash_dump", common.VM_STATE_ACTIVE, common.VM_STATE_ACTIVE)
        return server_pb2.TriggerCrashDumpResponse()

    def ResetServerState(self, request, _):
        self._enter(request)
        self._find(request.id).vm_state = request.vm_state
        return server_pb2.ResetServerStateResponse()

    def InjectNetworkInfo(self, request, _):
        self._enter(request)
        self._find(request.id)
        return server_pb2.InjectNetworkInfoResponse()

    def ChangeServerPassword(self, request, _):
        self._enter(request)
        self._find(request.id)
        return server_pb2.ChangeServerPasswordResponse()

    def GetServerDiagnostics(self, request, _):
        self._enter(request)
        self._find(request.id)
        answer = server_pb2.GetServerDiagnosticsResponse()
        told = answer.diagnostics
        told.power_state, told.driver, told.hypervisor = common.POWER_STATE_RUNNING, "libvirt", "kvm"
        told.config_drive, told.memory_maximum_mb = True, 512
        told.cpus.add(id=0, time=17)
        told.disks.add(read_bytes=5)
        told.nics.add(mac_address="fa:16:3e:00:00:01", rx_octets=9)
        told.native.update({"cpu0_time": 17, "vda_read": 5})
        return answer

    def RescueServer(self, request, _):
        self._changed(request, "rescue", common.VM_STATE_ACTIVE, common.VM_STATE_RESCUED)
        return server_pb2.RescueServerResponse(admin_password=self.password(request.admin_password))

    def RebuildServer(self, request, _):
        self._enter(request)
        server = self._find(request.id)
        for path in request.update_mask.paths:
            server.ClearField(path)
        server.MergeFrom(request.server)
        server.image.id = request.image_id
        server.task_state = common.TASK_STATE_REBUILDING
        return server_pb2.RebuildServerResponse(
            server=server, admin_password=self.password(request.admin_password)
        )

    def password(self, given: str) -> str:
        """Empty where `passwords` are off."""
        return (given or "generated") if self.passwords else ""
