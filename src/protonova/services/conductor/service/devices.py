"""ServerDeviceService: what is plugged into the servers of this cell."""

from __future__ import annotations

import grpc

from protonova.conductor.v1 import server_device_pb2 as pb
from protonova.conductor.v1 import server_device_pb2_grpc
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.service.addresses import Addresses
from protonova.services.conductor.service.begin import Beginnings
from protonova.services.conductor.service.events import Events
from protonova.services.conductor.service.interfaces import Interfaces
from protonova.services.conductor.service.shares import ServerShares
from protonova.services.conductor.service.volumes import VolumeAttachments
from protonova.services.runtime.operations import Engine


class ServerDeviceServicer(server_device_pb2_grpc.ServerDeviceServiceServicer):
    def __init__(self, cell: Cell, engine: Engine, beginnings: Beginnings) -> None:
        self._volumes = VolumeAttachments(cell, engine, beginnings)
        self._shares = ServerShares(cell, beginnings)
        self._interfaces = Interfaces(cell, engine, beginnings)
        self._addresses = Addresses(cell, engine, beginnings)
        self._events = Events(cell, beginnings)

    # ---- volumes

    def AttachVolume(
        self, request: pb.AttachVolumeRequest, context: grpc.ServicerContext
    ) -> pb.AttachVolumeResponse:
        return pb.AttachVolumeResponse(device=self._volumes.attach(request))

    def UpdateVolumeAttachment(
        self, request: pb.UpdateVolumeAttachmentRequest, context: grpc.ServicerContext
    ) -> pb.UpdateVolumeAttachmentResponse:
        self._volumes.update(request)
        return pb.UpdateVolumeAttachmentResponse()

    def SwapVolume(
        self, request: pb.SwapVolumeRequest, context: grpc.ServicerContext
    ) -> pb.SwapVolumeResponse:
        self._volumes.swap(request)
        return pb.SwapVolumeResponse()

    def DetachVolume(
        self, request: pb.DetachVolumeRequest, context: grpc.ServicerContext
    ) -> pb.DetachVolumeResponse:
        self._volumes.detach(request)
        return pb.DetachVolumeResponse()

    def SnapshotVolume(
        self, request: pb.SnapshotVolumeRequest, context: grpc.ServicerContext
    ) -> pb.SnapshotVolumeResponse:
        self._volumes.snapshot(request)
        return pb.SnapshotVolumeResponse()

    def MergeVolume(
        self, request: pb.MergeVolumeRequest, context: grpc.ServicerContext
    ) -> pb.MergeVolumeResponse:
        self._volumes.merge(request)
        return pb.MergeVolumeResponse()

    # ---- shares

    def AttachShare(
        self, request: pb.AttachShareRequest, context: grpc.ServicerContext
    ) -> pb.AttachShareResponse:
        return pb.AttachShareResponse(share=self._shares.attach(request))

    def DetachShare(
        self, request: pb.DetachShareRequest, context: grpc.ServicerContext
    ) -> pb.DetachShareResponse:
        self._shares.detach(request)
        return pb.DetachShareResponse()

    # ---- interfaces

    def ListServerInterfaces(
        self, request: pb.ListServerInterfacesRequest, context: grpc.ServicerContext
    ) -> pb.ListServerInterfacesResponse:
        return pb.ListServerInterfacesResponse(interfaces=self._interfaces.list(request.server_id))

    def GetServerInterface(
        self, request: pb.GetServerInterfaceRequest, context: grpc.ServicerContext
    ) -> pb.GetServerInterfaceResponse:
        return pb.GetServerInterfaceResponse(
            interface=self._interfaces.get(request.server_id, request.port_id)
        )

    def AttachInterface(
        self, request: pb.AttachInterfaceRequest, context: grpc.ServicerContext
    ) -> pb.AttachInterfaceResponse:
        return pb.AttachInterfaceResponse(interface=self._interfaces.attach(request))

    def DetachInterface(
        self, request: pb.DetachInterfaceRequest, context: grpc.ServicerContext
    ) -> pb.DetachInterfaceResponse:
        self._interfaces.detach(request)
        return pb.DetachInterfaceResponse()

    # ---- groups and addresses

    def ListServerSecurityGroups(
        self, request: pb.ListServerSecurityGroupsRequest, context: grpc.ServicerContext
    ) -> pb.ListServerSecurityGroupsResponse:
        return pb.ListServerSecurityGroupsResponse(groups=self._addresses.groups(request.server_id))

    def AddServerSecurityGroup(
        self, request: pb.AddServerSecurityGroupRequest, context: grpc.ServicerContext
    ) -> pb.AddServerSecurityGroupResponse:
        self._addresses.add_group(request.server_id, request.security_group)
        return pb.AddServerSecurityGroupResponse()

    def RemoveServerSecurityGroup(
        self, request: pb.RemoveServerSecurityGroupRequest, context: grpc.ServicerContext
    ) -> pb.RemoveServerSecurityGroupResponse:
        self._addresses.remove_group(request.server_id, request.security_group)
        return pb.RemoveServerSecurityGroupResponse()

    def AddFixedAddress(
        self, request: pb.AddFixedAddressRequest, context: grpc.ServicerContext
    ) -> pb.AddFixedAddressResponse:
        self._addresses.add_fixed(request.server_id, request.network_id)
        return pb.AddFixedAddressResponse()

    def RemoveFixedAddress(
        self, request: pb.RemoveFixedAddressRequest, context: grpc.ServicerContext
    ) -> pb.RemoveFixedAddressResponse:
        self._addresses.remove_fixed(request.server_id, request.address)
        return pb.RemoveFixedAddressResponse()

    def AddFloatingAddress(
        self, request: pb.AddFloatingAddressRequest, context: grpc.ServicerContext
    ) -> pb.AddFloatingAddressResponse:
        self._addresses.add_floating(request.server_id, request.address, request.fixed_address)
        return pb.AddFloatingAddressResponse()

    def RemoveFloatingAddress(
        self, request: pb.RemoveFloatingAddressRequest, context: grpc.ServicerContext
    ) -> pb.RemoveFloatingAddressResponse:
        self._addresses.remove_floating(request.server_id, request.address)
        return pb.RemoveFloatingAddressResponse()

    # ---- events

    def ReportServerEvents(
        self, request: pb.ReportServerEventsRequest, context: grpc.ServicerContext
    ) -> pb.ReportServerEventsResponse:
        return pb.ReportServerEventsResponse(results=self._events.take(request.events))
