"""Devices and consoles of servers in the api service's contract, kept in memory, as tests put them there."""

from __future__ import annotations

from typing import Any

from protonova.api.v1 import console_pb2, console_pb2_grpc, server_device_pb2_grpc
from protonova.api.v1 import server_device_pb2 as pb
from protonova.common.v1 import server_device_pb2 as common
from protonova.common.v1.server_pb2 import BlockDevice, ServerShare
from protonova.services.runtime import errors
from tests.support.compute_api import Servers


class Consoles(console_pb2_grpc.ConsoleServiceServicer):
    """One token leads somewhere. `refuse` makes the next console fail."""

    TOKEN = "dddddddd-0000-0000-0000-000000000001"

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.requests: list[Any] = []
        self.refuse: errors.Error | None = None

    def CreateConsole(self, request, _):
        self.requests.append(request)
        self.servers._find(request.server_id)
        if self.refuse is not None:
            raise self.refuse
        return console_pb2.CreateConsoleResponse(url=f"http://consoles.example/?token={self.TOKEN}")

    def GetConsoleToken(self, request, _):
        if request.token != self.TOKEN:
            raise errors.NotFound("No such token.", "CONSOLE_TOKEN_NOT_FOUND")
        server_id = next(iter(self.servers.servers))
        return console_pb2.GetConsoleTokenResponse(
            server_id=server_id, type="novnc", host="192.0.2.1", port=5901, tls_port=5902
        )


class Devices(server_device_pb2_grpc.ServerDeviceServiceServicer):
    """`requests` keeps what was asked, `refuse` makes a method fail."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.requests: list[Any] = []
        self.refuse: dict[str, errors.Error] = {}
        self.interfaces: dict[str, list[common.ServerInterface]] = {}
        self.groups: list[common.SecurityGroup] = []
        self.homeless: set[str] = set()

    def _enter(self, request: Any) -> Any:
        self.requests.append(request)
        name = type(request).__name__.removesuffix("Request")
        if name in self.refuse:
            raise self.refuse[name]
        return self.servers._find(request.server_id)

    def AttachVolume(self, request, _):
        server = self._enter(request)
        device = BlockDevice(
            id="00000000-0000-0000-0000-0000000000d1",
            source=2,
            destination=2,
            volume_id=request.volume_id,
            device_name=request.device_name or "/dev/vdb",
            tag=request.tag,
            delete_on_termination=request.delete_on_termination,
        )
        server.block_devices.append(device)
        return pb.AttachVolumeResponse(device=device)

    def UpdateVolumeAttachment(self, request, _):
        for device in self._enter(request).block_devices:
            if device.volume_id == request.volume_id:
                device.delete_on_termination = request.delete_on_termination
        return pb.UpdateVolumeAttachmentResponse()

    def SwapVolume(self, request, _):
        self._enter(request)
        return pb.SwapVolumeResponse()

    def DetachVolume(self, request, _):
        self._enter(request)
        return pb.DetachVolumeResponse()

    def AttachShare(self, request, _):
        self._enter(request)
        share = ServerShare(
            id="00000000-0000-0000-0000-0000000000f1",
            share_id=request.share_id,
            tag=request.tag or request.share_id,
            status="SHARE_STATUS_ATTACHING",
        )
        return pb.AttachShareResponse(share=share)

    def DetachShare(self, request, _):
        self._enter(request)
        return pb.DetachShareResponse()

    def SnapshotVolume(self, request, _):
        self._assist(request)
        return pb.SnapshotVolumeResponse()

    def MergeVolume(self, request, _):
        self._assist(request)
        return pb.MergeVolumeResponse()

    def _assist(self, request: Any) -> None:
        self.requests.append(request)
        name = type(request).__name__.removesuffix("Request")
        if name in self.refuse:
            raise self.refuse[name]

    def ListServerInterfaces(self, request, _):
        self._enter(request)
        return pb.ListServerInterfacesResponse(interfaces=self.interfaces.get(request.server_id, ()))

    def GetServerInterface(self, request, _):
        self._enter(request)
        for interface in self.interfaces.get(request.server_id, ()):
            if interface.interface.port_id == request.port_id:
                return pb.GetServerInterfaceResponse(interface=interface)
        raise errors.NotFound("There is no such interface.", "INTERFACE_NOT_FOUND")

    def AttachInterface(self, request, _):
        self._enter(request)
        made = common.ServerInterface(port_state="ACTIVE")
        made.interface.port_id = request.port_id or "00000000-0000-0000-0000-0000000000e1"
        made.interface.network_id = request.network_id or "00000000-0000-0000-0000-0000000000e2"
        made.interface.mac_address = "fa:16:3e:00:00:01"
        made.interface.tag = request.tag
        subnet = "00000000-0000-0000-0000-0000000000e3"
        made.interface.addresses.add(address=request.fixed_address or "10.0.0.9", subnet_id=subnet)
        self.interfaces.setdefault(request.server_id, []).append(made)
        return pb.AttachInterfaceResponse(interface=made)

    def DetachInterface(self, request, _):
        self._enter(request)
        return pb.DetachInterfaceResponse()

    def ListServerSecurityGroups(self, request, _):
        self._enter(request)
        return pb.ListServerSecurityGroupsResponse(groups=self.groups)

    def AddServerSecurityGroup(self, request, _):
        self._enter(request)
        return pb.AddServerSecurityGroupResponse()

    def RemoveServerSecurityGroup(self, request, _):
        self._enter(request)
        return pb.RemoveServerSecurityGroupResponse()

    def AddFixedAddress(self, request, _):
        self._enter(request)
        return pb.AddFixedAddressResponse()

    def RemoveFixedAddress(self, request, _):
        self._enter(request)
        return pb.RemoveFixedAddressResponse()

    def AddFloatingAddress(self, request, _):
        self._enter(request)
        return pb.AddFloatingAddressResponse()

    def RemoveFloatingAddress(self, request, _):
        self._enter(request)
        return pb.RemoveFloatingAddressResponse()

    def ReportServerEvents(self, request, _):
        self.requests.append(request)
        return pb.ReportServerEventsResponse(results=[self._result(event) for event in request.events])

    def _result(self, event):
        if event.server_id not in self.servers.servers:
            return common.SERVER_EVENT_RESULT_SERVER_NOT_FOUND
        if event.server_id in self.homeless:
            return common.SERVER_EVENT_RESULT_NO_HOST
        needs_tag = event.name == "volume-extended" and not event.tag
        return common.SERVER_EVENT_RESULT_TAG_INVALID if needs_tag else common.SERVER_EVENT_RESULT_ACCEPTED
