"""The block_device_mapping step of a build: volumes made where asked for, reserved and connected to the host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import (
    BlockDevice,
    BlockDeviceDestination,
    BlockDeviceSource,
    Server,
)
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import build as building
from protonova.services.runtime import errors
from protonova.services.runtime.openstack.volume import Volume
from protonova.services.runtime.operations import Outcome, Run, Step

_MAKING = {"creating", "downloading"}


class BlockDeviceMapping(Step):
    name = "block_device_mapping"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.volume_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return bool(run.payload["volumes"])

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, build = cell.db.read(
            lambda c: (cell.servers.get(c, run.subject), building.load(c, run.subject))
        )
        connector = connector_of(cell, building.destination(build, run).host)
        attached = cell.outside.volumes.attachments_of(server.id)
        devices: dict[str, BlockDevice] = {}
        for device in server.block_devices:
            if device.destination != BlockDeviceDestination.BLOCK_DEVICE_DESTINATION_VOLUME:
                continue
            run.check()
            if not device.volume_id:
                device.volume_id = self._make(run, server, device, build.user_token).id
            self._connect(server.id, device, attached, connector)
            devices[device.id] = device

        def apply(connection: Connection) -> None:
            def alter(changed: Server) -> None:
                for device in changed.block_devices:
                    if device.id in devices:
                        device.CopyFrom(devices[device.id])
                changed.task_state = building.task_state_before("spawning", build, changed)

            cell.servers.change(connection, run.subject, alter)

        return Outcome(apply=apply)

    def undo(self, run: Run) -> Outcome | None:
        if not self.needed(run):
            return None
        cell = self._cell
        server = cell.db.read(lambda c: cell.servers.get(c, run.subject))
        detach_volumes(cell, server.id)
        for device in server.block_devices:
            if _made_for_server(device):
                delete_made_volume(cell, server.id, device)

        def apply(connection: Connection) -> None:
            def alter(changed: Server) -> None:
                for device in changed.block_devices:
                    device.ClearField("attachment_id")
                    device.ClearField("connection")
                    if _made_for_server(device):
                        device.ClearField("volume_id")

            cell.servers.change(connection, run.subject, alter)

        return Outcome(apply=apply)

    def _make(self, run: Run, server: Server, device: BlockDevice, token: str) -> Volume:
        """Makes the volume of a device, or finds the one an earlier try has made, and waits until it is there."""
        volumes = self._cell.outside.volumes
        as_user = volumes.acting_for(token, server.project_id)
        volume = volumes.named(_name(server.id, device)) or as_user.create(
            size_gb=device.size_gb,
            name=_name(server.id, device),
            image_id=device.image_id if device.source == BlockDeviceSource.BLOCK_DEVICE_SOURCE_IMAGE else "",
            snapshot_id=device.snapshot_id,
            volume_type=device.volume_type,
            zone=server.availability_zone,
        )
        while volume.status in _MAKING:
            run.wait(self._cell.conf.conductor.volume_poll_interval)
            volume = volumes.get(volume.id)
        if volume.status not in ("available", "reserved", "attaching", "in-use"):
            raise errors.FailedPrecondition(
                f"Volume {volume.id} could not be made; its status is {volume.status}.",
                reason="VOLUME_NOT_MADE",
                volume_id=volume.id,
                status=volume.status,
            )
        return volume

    def _connect(
        self, server_id: str, device: BlockDevice, attached: dict[str, str], connector: dict[str, str]
    ) -> None:
        volumes = self._cell.outside.volumes
        device.attachment_id = (
            attached.get(device.volume_id)
            or device.attachment_id
            or volumes.create_attachment(device.volume_id, server_id)
        )
        connect(self._cell, device, connector)


def connect(cell: Cell, device: BlockDevice, connector: dict[str, str]) -> None:
    """Writes into a device how the connector's host reaches its volume."""
    set_connection(device, cell.outside.volumes.connect_attachment(device.attachment_id, connector))


def connector_of(cell: Cell, host_name: str) -> dict[str, str]:
    """What the volume service is told of a host that is to reach a volume."""
    host = cell.host(host_name)
    return {"host": host_name, "ip": host.report.host_ip if host else "", "os_type": "linux"}


def set_connection(device: BlockDevice, connection: Mapping[str, Any]) -> None:
    device.connection.Clear()
    json_format.ParseDict(dict(connection), device.connection)


def complete_volumes(cell: Cell, server: Server) -> None:
    """Tells the volume service that the guest has its volumes."""
    for device in server.block_devices:
        if device.attachment_id:
            cell.outside.volumes.complete_attachment(device.attachment_id)


def detach_volumes(cell: Cell, server_id: str) -> None:
    for _, attachment_id in cell.outside.volumes.attachment_ids(server_id):
        cell.outside.volumes.delete_attachment(attachment_id)


def delete_made_volume(cell: Cell, server_id: str, device: BlockDevice) -> None:
    """Removes the volume made for a device, known to the record or not."""
    made = cell.outside.volumes.named(_name(server_id, device))
    volume_id = made.id if made else device.volume_id
    if volume_id:
        cell.outside.volumes.delete(volume_id)


def made_unrecorded(device: BlockDevice) -> bool:
    """Whether a volume for the device may have been made without the record knowing it."""
    return _made_for_server(device) and not device.volume_id


def _made_for_server(device: BlockDevice) -> bool:
    return (
        device.destination == BlockDeviceDestination.BLOCK_DEVICE_DESTINATION_VOLUME
        and device.source != BlockDeviceSource.BLOCK_DEVICE_SOURCE_VOLUME
    )


def _name(server_id: str, device: BlockDevice) -> str:
    """Unique, so that a repeated step finds its volume again."""
    return f"{server_id}-{device.id}"
