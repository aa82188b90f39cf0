"""What is plugged into the guests of the tests' own agents, and their consoles; they can be told to misbehave as
those are."""

from __future__ import annotations

from collections import defaultdict

from protonova.compute.v1 import console_pb2, console_pb2_grpc, guest_device_pb2_grpc
from protonova.compute.v1 import guest_device_pb2 as pb
from protonova.services.runtime import errors
from tests.support.agents import Guests


class Devices(guest_device_pb2_grpc.GuestDeviceServiceServicer):
    """Names and attachments of volumes, addresses of ports and tags of shares by server id. A method is refused or
    held by its guests' means."""

    def __init__(self, guests: Guests) -> None:
        self.volumes: dict[str, dict[str, str]] = defaultdict(dict)
        self.attachments: dict[str, dict[str, str]] = defaultdict(dict)
        self.ports: dict[str, dict[str, list[str]]] = defaultdict(dict)
        self.shares: dict[str, dict[str, str]] = defaultdict(dict)
        self.sizes: dict[str, int] = {}
        self.files: dict[str, str] = {}
        self.merged: dict[str, tuple[str, str]] = {}
        self._guests = guests

    def AttachGuestVolume(self, request, context):
        self._enter("AttachGuestVolume", request, context)
        assert request.device.HasField("connection")
        held = self.volumes[request.server_id]
        name = held.setdefault(request.device.volume_id, request.device.device_name)
        self.attachments[request.server_id][request.device.volume_id] = request.device.attachment_id
        return self._leave("AttachGuestVolume", pb.AttachGuestVolumeResponse(device_name=name))

    def DetachGuestVolume(self, request, context):
        self._enter("DetachGuestVolume", request, context)
        self.volumes[request.server_id].pop(request.volume_id, None)
        self.attachments[request.server_id].pop(request.volume_id, None)
        return self._leave("DetachGuestVolume", pb.DetachGuestVolumeResponse())

    def SwapGuestVolume(self, request, context):
        self._enter("SwapGuestVolume", request, context)
        held = self.volumes[request.server_id]
        if request.volume_id in held:
            held[request.device.volume_id] = held.pop(request.volume_id)
        elif request.device.volume_id not in held:
            raise errors.FailedPrecondition("There is no such disk.", reason="DEVICE_NOT_FOUND")
        self.attachments[request.server_id].pop(request.volume_id, None)
        self.attachments[request.server_id][request.device.volume_id] = request.device.attachment_id
        return self._leave("SwapGuestVolume", pb.SwapGuestVolumeResponse())

    def ExtendGuestVolume(self, request, context):
        self._enter("ExtendGuestVolume", request, context)
        self.sizes[request.volume_id] = request.size_gb
        return pb.ExtendGuestVolumeResponse()

    def SnapshotGuestVolume(self, request, context):
        self._enter("SnapshotGuestVolume", request, context)
        self._volume(request)
        self.files[request.volume_id] = request.new_file
        answer = pb.SnapshotGuestVolumeResponse()
        answer.connection.update({"driver_volume_type": "file", "data": {"device_path": request.new_file}})
        return self._leave("SnapshotGuestVolume", answer)

    def MergeGuestVolume(self, request, context):
        self._enter("MergeGuestVolume", request, context)
        self._volume(request)
        self.merged[request.volume_id] = (request.file_to_merge, request.merge_target_file)
        return self._leave("MergeGuestVolume", pb.MergeGuestVolumeResponse())

    def _volume(self, request):
        if request.volume_id not in self.volumes[request.server_id]:
            raise errors.FailedPrecondition("There is no such disk.", reason="DEVICE_NOT_FOUND")

    def AttachGuestInterface(self, request, context):
        self._enter("AttachGuestInterface", request, context)
        addresses = [fixed.address for fixed in request.interface.addresses]
        self.ports[request.server_id][request.interface.port_id] = addresses
        return self._leave("AttachGuestInterface", pb.AttachGuestInterfaceResponse())

    def DetachGuestInterface(self, request, context):
        self._enter("DetachGuestInterface", request, context)
        self.ports[request.server_id].pop(request.port_id, None)
        return self._leave("DetachGuestInterface", pb.DetachGuestInterfaceResponse())

    def AttachGuestShare(self, request, context):
        self._enter("AttachGuestShare", request, context)
        self.shares[request.server_id][request.share.share_id] = request.share.tag
        return self._leave("AttachGuestShare", pb.AttachGuestShareResponse())

    def DetachGuestShare(self, request, context):
        self._enter("DetachGuestShare", request, context)
        self.shares[request.server_id].pop(request.share_id, None)
        return self._leave("DetachGuestShare", pb.DetachGuestShareResponse())

    def _enter(self, method, request, context):
        self._guests.enter(method, request.host, request.server_id, request.fence, context)
        if (request.host, request.server_id) not in self._guests.guests:
            raise errors.NotFound("There is no such guest.", reason="GUEST_NOT_FOUND")

    def _leave(self, method, answer):
        """Refused after its effect, where a test wants that: `fail("after AttachGuestVolume", …)`."""
        self._guests.refuse(f"after {method}")
        return answer


class Consoles(console_pb2_grpc.ConsoleServiceServicer):
    """Every guest shows itself by VNC, and in no other way."""

    def __init__(self, guests: Guests) -> None:
        self._guests = guests

    def GetGuestConsole(self, request, context):
        self._guests._there(request.host, request.server_id)
        if request.kind != console_pb2.CONSOLE_KIND_VNC:
            raise errors.FailedPrecondition("Not this one.", reason="CONSOLE_TYPE_UNAVAILABLE")
        return console_pb2.GetGuestConsoleResponse(host="192.0.2.1", port=5901)
