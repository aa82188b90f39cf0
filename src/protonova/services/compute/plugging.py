"""The GuestDeviceService: what is plugged into guests, at the word of the cell's conductor.

Calls are let in by the journal; what is there already is the hypervisor's to say, so that a repeated call looks
and finds nothing left to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from google.protobuf import json_format

from protonova.compute.v1 import guest_device_pb2 as pb
from protonova.compute.v1 import guest_device_pb2_grpc
from protonova.compute.v1.guest_pb2 import Fence
from protonova.services.compute import spec
from protonova.services.compute.hosts import Hosts
from protonova.services.compute.journal import Journal
from protonova.services.compute.steps import translated
from protonova.services.compute.virt.driver import Driver


class GuestDeviceServicer(guest_device_pb2_grpc.GuestDeviceServiceServicer):
    """See protos/protonova/compute/v1/guest_device.proto."""

    def __init__(self, hosts: Hosts, journal: Journal) -> None:
        self._hosts = hosts
        self._journal = journal

    def AttachGuestVolume(
        self, request: pb.AttachGuestVolumeRequest, context: grpc.ServicerContext
    ) -> pb.AttachGuestVolumeResponse:
        with self._step(request.host, request.server_id, request.fence) as driver:
            name = driver.attach_volume(request.server_id, spec.volume(request.device))
        return pb.AttachGuestVolumeResponse(device_name=name)

    def DetachGuestVolume(
        self, request: pb.DetachGuestVolumeRequest, context: grpc.ServicerContext
    ) -> pb.DetachGuestVolumeResponse:
        with self._step(request.host, request.server_id, request.fence) as driver:
            driver.detach_volume(request.server_id, request.volume_id)
        return pb.DetachGuestVolumeResponse()

    def SwapGuestVolume(
        self, request: pb.SwapGuestVolumeRequest, context: grpc.ServicerContext
    ) -> pb.SwapGuestVolumeResponse:
        with self._step(request.host, request.server_id, request.fence) as driver:
            driver.swap_volume(request.server_id, request.volume_id, spec.volume(request.device))
        return pb.SwapGuestVolumeResponse()

    def ExtendGuestVolume(
        self, request: pb.ExtendGuestVolumeRequest, context: grpc.ServicerContext
    ) -> pb.ExtendGuestVolumeResponse:
        with self._step(request.host, request.server_id, request.fence) as driver:
            driver.extend_volume(request.server_id, request.volume_id, request.size_gb)
        return pb.ExtendGuestVolumeResponse()

    def SnapshotGuestVolume(
        self, request: pb.SnapshotGuestVolumeRequest, context: grpc.ServicerContext
    ) -> pb.SnapshotGuestVolumeResponse:
        with self._step(request.host, request.server_id, request.fence) as driver:
            connection = driver.snapshot_volume(request.server_id, request.volume_id, request.new_file)
        answer = pb.SnapshotGuestVolumeResponse()
        json_format.ParseDict(dict(connection), answer.connection)
        return answer

    def MergeGuestVolume(
        self, request: pb.MergeGuestVolumeRequest, context: grpc.ServicerContext
    ) -> pb.MergeGuestVolumeResponse:
        with self._step(request.host, request.server_id, request.fence) as driver:
            driver.merge_volume(
                request.server_id, request.volume_id, request.file_to_merge, request.merge_target_file
            )
        return pb.MergeGuestVolumeResponse()

    def AttachGuestInterface(
        self, request: pb.AttachGuestInterfaceRequest, context: grpc.ServicerContext
    ) -> pb.AttachGuestInterfaceResponse:
        with self._step(request.host, request.server_id, request.fence) as driver:
            driver.attach_interface(request.server_id, spec.nic(request.interface))
        return pb.AttachGuestInterfaceResponse()

    def DetachGuestInterface(
        self, request: pb.DetachGuestInterfaceRequest, context: grpc.ServicerContext
    ) -> pb.DetachGuestInterfaceResponse:
        with self._step(request.host, request.server_id, request.fence) as driver:
            driver.detach_interface(request.server_id, request.port_id)
        return pb.DetachGuestInterfaceResponse()

    def AttachGuestShare(
        self, request: pb.AttachGuestShareRequest, context: grpc.ServicerContext
    ) -> pb.AttachGuestShareResponse:
        with self._step(request.host, request.server_id, request.fence) as driver:
            driver.attach_share(request.server_id, spec.share_mount(request.share))
        return pb.AttachGuestShareResponse()

    def DetachGuestShare(
        self, request: pb.DetachGuestShareRequest, context: grpc.ServicerContext
    ) -> pb.DetachGuestShareResponse:
        with self._step(request.host, request.server_id, request.fence) as driver:
            driver.detach_share(request.server_id, request.share_id)
        return pb.DetachGuestShareResponse()

    @contextmanager
    def _step(self, host: str, server_id: str, fence: Fence) -> Iterator[Driver]:
        driver = self._hosts.get(host).driver
        self._journal.admit(server_id, fence)
        with translated(server_id):
            yield driver
        self._journal.record(fence, b"")
