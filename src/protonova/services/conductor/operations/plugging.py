"""Calling the agent of a server's host for what is plugged into its guest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from google.protobuf import json_format

from protonova.common.v1.server_pb2 import BlockDevice, NetworkInterface, ServerShare
from protonova.compute.v1 import guest_device_pb2 as pb
from protonova.compute.v1.guest_device_pb2_grpc import GuestDeviceServiceStub
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import agent
from protonova.services.runtime import errors
from protonova.services.runtime.operations import DO, Run


class Plugging:
    """The guest of a step's server on a host; `timeout` is how long a call may take, in seconds."""

    def __init__(self, cell: Cell, run: Run, host: str, timeout: float) -> None:
        self._cell = cell
        self._run = run
        self._host = host
        self._timeout = timeout

    def attach_volume(self, device: BlockDevice) -> str:
        """Returns the name of the disk."""
        with self._agent() as (devices, common):
            request = pb.AttachGuestVolumeRequest(**common, device=device)
            return devices.AttachGuestVolume(request, timeout=self._timeout).device_name

    def detach_volume(self, volume_id: str) -> None:
        """A guest that is gone holds nothing."""
        with _gone_is_fine(), self._agent() as (devices, common):
            request = pb.DetachGuestVolumeRequest(**common, volume_id=volume_id)
            devices.DetachGuestVolume(request, timeout=self._timeout)

    def swap_volume(self, volume_id: str, new: BlockDevice) -> None:
        with self._agent() as (devices, common):
            request = pb.SwapGuestVolumeRequest(**common, volume_id=volume_id, device=new)
            devices.SwapGuestVolume(request, timeout=self._timeout)

    def extend_volume(self, volume_id: str, size_gb: int) -> None:
        with self._agent() as (devices, common):
            request = pb.ExtendGuestVolumeRequest(**common, volume_id=volume_id, size_gb=size_gb)
            devices.ExtendGuestVolume(request, timeout=self._timeout)

    def snapshot_volume(self, volume_id: str, new_file: str) -> dict[str, Any]:
        """Returns how the volume is connected to from now on; empty = as before."""
        with self._agent() as (devices, common):
            request = pb.SnapshotGuestVolumeRequest(**common, volume_id=volume_id, new_file=new_file)
            answer = devices.SnapshotGuestVolume(request, timeout=self._timeout)
        return json_format.MessageToDict(answer.connection)

    def merge_volume(self, volume_id: str, file_to_merge: str, merge_target_file: str) -> None:
        with self._agent() as (devices, common):
            request = pb.MergeGuestVolumeRequest(
                **common,
                volume_id=volume_id,
                file_to_merge=file_to_merge,
                merge_target_file=merge_target_file,
            )
            devices.MergeGuestVolume(request, timeout=self._timeout)

    def attach_interface(self, interface: NetworkInterface) -> None:
        with self._agent() as (devices, common):
            request = pb.AttachGuestInterfaceRequest(**common, interface=interface)
            devices.AttachGuestInterface(request, timeout=self._timeout)

    def detach_interface(self, port_id: str) -> None:
        """A guest that is gone holds nothing."""
        with _gone_is_fine(), self._agent() as (devices, common):
            request = pb.DetachGuestInterfaceRequest(**common, port_id=port_id)
            devices.DetachGuestInterface(request, timeout=self._timeout)

    def attach_share(self, share: ServerShare) -> None:
        with self._agent() as (devices, common):
            request = pb.AttachGuestShareRequest(**common, share=share)
            devices.AttachGuestShare(request, timeout=self._timeout)

    def detach_share(self, share_id: str) -> None:
        """A guest that is gone holds nothing."""
        with _gone_is_fine(), self._agent() as (devices, common):
            request = pb.DetachGuestShareRequest(**common, share_id=share_id)
            devices.DetachGuestShare(request, timeout=self._timeout)

    @property
    def is_up(self) -> bool:
        host = self._cell.host(self._host)
        return host is not None and host.up

    @property
    def untouched(self) -> bool:
        """While undoing: whether the guest was never reached, so that there is nothing to be taken back. Of a host
        that went down later nobody knows what its guest has: it is waited for."""
        return self._run.error is not None and self._run.error.facts.get("reached") == "no"

    @contextmanager
    def _agent(self) -> Iterator[tuple[GuestDeviceServiceStub, dict[str, Any]]]:
        host = self._cell.host(self._host)
        if host is None or not host.up or not host.agent_target:
            first = self._run.direction == DO and self._run.tries == 0 and self._run.attempt == 1
            raise errors.FailedPrecondition(
                f"Host {self._host} is down.",
                reason="HOST_NOT_READY",
                host=self._host,
                reached="no" if first else "maybe",
            )
        common = {"host": self._host, "fence": agent.fence(self._run), "server_id": self._run.subject}
        with agent.calling(self._host):
            yield self._cell.outside.agents.devices(host.agent_target), common


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except errors.NotFound as error:
        if error.reason != "GUEST_NOT_FOUND":
            raise
