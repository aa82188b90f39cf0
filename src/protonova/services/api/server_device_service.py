"""ServerDeviceService: what is plugged into servers of the whole region; done by the conductor of their cell.

A server that no cell has yet has nothing plugged into it.
"""

from __future__ import annotations

import uuid
from typing import Any

import grpc
from google.protobuf.message import Message

from protonova.api.v1 import server_device_pb2 as pb
from protonova.api.v1 import server_device_pb2_grpc
from protonova.common.v1 import server_device_pb2 as common
from protonova.conductor.v1 import server_device_pb2 as conductor_pb
from protonova.services.api.cells import Cells
from protonova.services.api.creation.volumes import VolumeSource
from protonova.services.api.mappings import Mappings
from protonova.services.api.relay import Relay, carried
from protonova.services.runtime import context as contexts
from protonova.services.runtime import errors

_SERVICE = "ServerDeviceService"
_NOT_FOUND = common.SERVER_EVENT_RESULT_SERVER_NOT_FOUND
_NO_HOST = common.SERVER_EVENT_RESULT_NO_HOST


class ServerDeviceService(server_device_pb2_grpc.ServerDeviceServiceServicer):
    def __init__(self, cells: Cells, places: Mappings, volumes: VolumeSource) -> None:
        self._places = places
        self._volumes = volumes
        self.relay = Relay(cells, places)

    AttachVolume = carried("attach_volume")
    UpdateVolumeAttachment = carried("update volume attachment")
    SwapVolume = carried("swap_volume")
    DetachVolume = carried("detach_volume")
    AttachShare = carried("attach_share")
    DetachShare = carried("detach_share")
    GetServerInterface = carried("show interface")
    AttachInterface = carried("attach_interface")
    DetachInterface = carried("detach_interface")
    AddServerSecurityGroup = carried("addSecurityGroup")
    RemoveServerSecurityGroup = carried("removeSecurityGroup")
    AddFixedAddress = carried("addFixedIp")
    RemoveFixedAddress = carried("removeFixedIp")
    AddFloatingAddress = carried("addFloatingIp")
    RemoveFloatingAddress = carried("removeFloatingIp")

    def SnapshotVolume(
        self, request: pb.SnapshotVolumeRequest, context: grpc.ServicerContext
    ) -> pb.SnapshotVolumeResponse:
        question = conductor_pb.SnapshotVolumeRequest(
            server_id=request.server_id,
            volume_id=request.volume_id,
            snapshot_id=request.snapshot_id,
            new_file=request.new_file,
        )
        self._assist("SnapshotVolume", "volume_snapshot_create", question)
        return pb.SnapshotVolumeResponse()

    def MergeVolume(
        self, request: pb.MergeVolumeRequest, context: grpc.ServicerContext
    ) -> pb.MergeVolumeResponse:
        question = conductor_pb.MergeVolumeRequest(
            server_id=request.server_id,
            volume_id=request.volume_id,
            snapshot_id=request.snapshot_id,
            file_to_merge=request.file_to_merge,
            merge_target_file=request.merge_target_file,
        )
        self._assist("MergeVolume", "volume_snapshot_delete", question)
        return pb.MergeVolumeResponse()

    def _assist(self, method: str, action: str, question: Any) -> None:
        # The volume service asks for servers of all projects.
        with contexts.use(contexts.current().elevated(), contexts.remaining()):
            question.server_id = question.server_id or self._holder(question.volume_id)
            place = self.relay.placed(question.server_id, action)
            self.relay.ask(place, _SERVICE, method, question)

    def _holder(self, volume_id: str) -> str:
        """The server that has a volume. Raises VOLUME_NOT_ATTACHED, VOLUME_UNUSABLE."""
        try:
            # Nothing else is asked of another service as part of a path.
            volume = self._volumes.get(str(uuid.UUID(volume_id)))
        except (errors.NotFound, errors.InvalidArgument, ValueError):
            volume = None
        if volume is None or not volume.server_ids:
            raise errors.FailedPrecondition(
                f"Volume {volume_id} is attached to no server.",
                reason="VOLUME_NOT_ATTACHED",
                volume_id=volume_id,
            )
        if volume.multiattach:
            raise errors.InvalidArgument(
                f"Volume {volume_id} is one for several servers.",
                reason="VOLUME_UNUSABLE",
                volume_id=volume_id,
                cause="multiattach",
            )
        return volume.server_ids[0]

    def ListServerInterfaces(
        self, request: pb.ListServerInterfacesRequest, context: grpc.ServicerContext
    ) -> pb.ListServerInterfacesResponse:
        return self._listed("ListServerInterfaces", request, pb.ListServerInterfacesResponse)

    def ListServerSecurityGroups(
        self, request: pb.ListServerSecurityGroupsRequest, context: grpc.ServicerContext
    ) -> pb.ListServerSecurityGroupsResponse:
        return self._listed("ListServerSecurityGroups", request, pb.ListServerSecurityGroupsResponse)

    def ReportServerEvents(
        self, request: pb.ReportServerEventsRequest, context: grpc.ServicerContext
    ) -> pb.ReportServerEventsResponse:
        """Each cell is told its own; one that does not answer fails them all, and the caller tells them again."""
        # Services tell of servers of all projects.
        with contexts.use(contexts.current().elevated(), contexts.remaining()):
            results: dict[int, Any] = {}
            by_cell: dict[str, list[int]] = {}
            for index, event in enumerate(request.events):
                try:
                    place = self._places.locate(event.server_id)
                except errors.NotFound:
                    results[index] = _NOT_FOUND
                    continue
                if place.building is not None:
                    results[index] = _NO_HOST
                else:
                    by_cell.setdefault(place.cell_id, []).append(index)
            for indexes in by_cell.values():
                place = self._places.locate(request.events[indexes[0]].server_id)
                question = conductor_pb.ReportServerEventsRequest(
                    events=[request.events[index] for index in indexes]
                )
                answer = self.relay.ask(place, _SERVICE, "ReportServerEvents", question)
                told = conductor_pb.ReportServerEventsResponse.FromString(answer).results
                results.update(zip(indexes, told, strict=True))
        return pb.ReportServerEventsResponse(results=[results[index] for index in range(len(results))])

    def _listed(self, method: str, request: Any, kind: type[Message]) -> Any:
        place = self._places.locate(request.server_id)
        if place.building is not None:
            return kind()
        return kind.FromString(self.relay.ask(place, _SERVICE, method, request))
