"""The image of a server whose root disk is a volume: snapshots of its volumes, and an image without bytes that
names them, from which servers boot. The server goes on; nothing of it is changed."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import BlockDevice, BlockDeviceDestination, Server
from protonova.services.conductor.actions import CREATE_VOLUME_IMAGE
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations.image import DISCARD, record
from protonova.services.conductor.tables import operation_tables
from protonova.services.runtime import errors
from protonova.services.runtime.openstack.volume import Snapshot
from protonova.services.runtime.operations import Kind, Outcome, Run, Step
from protonova.services.runtime.operations.forgetting import conceal

_VOLUME = BlockDeviceDestination.BLOCK_DEVICE_DESTINATION_VOLUME


class Snapshots(Step):
    """One of each volume, by a name of its own, so that a repeat finds it."""

    name = "snapshots"
    event = "api_snapshot_volumes"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.volume_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        record(self._cell, run.payload["image"])
        made = [self._mapping(run, device) for device in self._devices(run)]
        return Outcome(memory={"devices": made})

    def undo(self, run: Run) -> None:
        volumes = self._cell.outside.volumes
        for device in self._devices(run):
            if (made := volumes.snapshot_named(_name(run, device))) is not None:
                volumes.delete_snapshot(made.id)
        self._cell.outside.images.delete(run.payload["image"]["id"])

    def _devices(self, run: Run) -> list[BlockDevice]:
        server = self._cell.db.read(lambda connection: self._cell.servers.get(connection, run.subject))
        return _volumes(server)

    def _mapping(self, run: Run, device: BlockDevice) -> dict[str, Any]:
        snapshot = self._made(run, device)
        boots = device.HasField("boot_index") and device.boot_index >= 0
        return {
            "source_type": "snapshot",
            "destination_type": "volume",
            "snapshot_id": snapshot.id,
            "volume_size": snapshot.size_gb,
            "boot_index": device.boot_index if boots else None,
            "device_name": device.device_name or None,
            "device_type": device.device_type or None,
            "disk_bus": device.disk_bus or None,
            "volume_type": device.volume_type or None,
            "delete_on_termination": device.delete_on_termination,
        }

    def _made(self, run: Run, device: BlockDevice) -> Snapshot:
        volumes = self._cell.outside.volumes
        name = _name(run, device)
        as_user = volumes.acting_for(run.payload.get("token", ""), run.payload["image"]["owner"])
        snapshot = volumes.snapshot_named(name) or as_user.create_snapshot(device.volume_id, name)
        while snapshot.status == "creating":
            run.wait(self._cell.conf.conductor.volume_poll_interval)
            snapshot = volumes.snapshot(snapshot.id)
        if snapshot.status != "available":
            raise errors.FailedPrecondition(
                f"The snapshot of volume {device.volume_id} could not be made; its status is {snapshot.status}.",
                reason="SNAPSHOT_NOT_MADE",
                volume_id=device.volume_id,
                status=snapshot.status,
            )
        return snapshot


class Activate(Step):
    """The image names the snapshots, and becomes active without bytes."""

    name = "image_record"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.volume_timeout)
        self._cell = cell

    def do(self, run: Run) -> None:
        images, image_id = self._cell.outside.images, run.payload["image"]["id"]
        if images.get(image_id).status == "active":
            return
        server = self._cell.db.read(lambda connection: self._cell.servers.get(connection, run.subject))
        images.change(
            image_id,
            {
                "bdm_v2": "True",
                "block_device_mapping": json.dumps(run.memory["devices"]),
                "root_device_name": server.root_device_name or "/dev/vda",
                "disk_format": "qcow2",
                "container_format": "bare",
            },
        )
        images.upload(image_id, b"")


class VolumeImage(Kind):
    name = CREATE_VOLUME_IMAGE.operation

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.steps = [Snapshots(cell), Activate(cell)]

    def finished(self, run: Run, connection: Connection) -> None:
        _forget_token(run, connection)

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> None:
        _forget_token(run, connection)

    def preempted(self, run: Run, connection: Connection) -> None:
        _forget_token(run, connection)
        server = self._cell.servers.get(connection, run.subject)
        names = [_name(run, device) for device in _volumes(server)]
        self.engine.create(connection, DISCARD, run.payload["image"]["id"], {"snapshots": names})


def _forget_token(run: Run, connection: Connection) -> None:
    conceal(connection, operation_tables, run, "token")


def _volumes(server: Server) -> list[BlockDevice]:
    return [device for device in server.block_devices if device.destination == _VOLUME]


def _name(run: Run, device: BlockDevice) -> str:
    return f"{run.payload['image']['id']}-{device.id}"
