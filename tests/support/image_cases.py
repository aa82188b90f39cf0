"""The `Case`s of operations that make images of servers, and of shelving: see tests.support.operations."""

from __future__ import annotations

import threading
import time
import uuid
from pathlib import Path
from typing import Any

from protonova.common.v1.server_pb2 import (
    BlockDeviceDestination,
    BlockDeviceSource,
    PowerState,
    Server,
    TaskState,
    VmState,
)
from protonova.compute.v1 import guest_pb2
from protonova.scheduler.v1 import scheduler_pb2_grpc
from protonova.scheduler.v1.scheduler_pb2 import RequestSpec
from protonova.services.conductor import actions, tables
from protonova.services.conductor.actions import Action
from protonova.services.conductor.operations import image as images
from protonova.services.conductor.operations import unshelve
from protonova.services.conductor.operations.kinds import kinds
from protonova.services.conductor.service.begin import Beginnings
from protonova.services.runtime import config
from protonova.services.runtime.database import Database
from protonova.services.runtime.operations import Engine
from protonova.services.runtime.server import Server as GrpcServer
from tests.support.conductor import LOOPBACK, Edges, destination, new_server
from tests.support.images import Record
from tests.support.operations import LEASE_SECONDS, PATIENCE, POLL_SECONDS
from tests.support.scheduler import Scheduler
from tests.support.state_cases import HOST, RUNNING, StateCase

OFF = PowerState.POWER_STATE_SHUTDOWN


class ImageCase(StateCase):
    """A server that is ACTIVE on its host, with its root disk there."""

    action: Action

    @property
    def kind(self) -> str:  # type: ignore[override]
        return self.action.operation

    def engine(self, db: Database) -> Engine:
        return Engine(
            db,
            tables.operation_tables,
            kinds(self._on(db)),
            owner="test",
            lease_seconds=LEASE_SECONDS,
            poll_seconds=POLL_SECONDS,
        )

    def act(self, begin: Beginnings, server_id: str) -> None:
        server = self.cell.db.read(lambda connection: self.cell.servers.get(connection, server_id))
        begin.action(self.action, server_id, self.payload(server))

    def payload(self, server: Server) -> dict[str, Any]:
        return {"image": self._described(server)}

    def assert_undone(self, operation_id: str) -> None:
        """That an image could not be made is no fault of the server."""
        server = self.server(operation_id)
        assert server.task_state == TaskState.TASK_STATE_UNSPECIFIED
        self._assert_clean(server)
        self.undone(server)

    def undone(self, server: Server) -> None:
        assert server.vm_state == VmState.VM_STATE_ACTIVE
        assert self.edges.guests.guests[HOST, server.id].power_state == RUNNING
        assert self._images(server) == []

    def done(self, server: Server) -> None:
        assert server.vm_state == VmState.VM_STATE_ACTIVE
        (image,) = self._images(server)
        assert (image.status, image.content) == ("active", b"a root disk")

    def assert_swept(self, operation_id: str) -> None:
        server = self.server(operation_id)
        assert server.vm_state == VmState.VM_STATE_DELETED
        assert self.edges.guests.where(server.id) == []
        assert server.id not in self.edges.allocations.held
        # The image goes by an operation of its own.
        ends = time.monotonic() + PATIENCE
        while self._images(server):
            assert time.monotonic() < ends
            threading.Event().wait(0.01)

    def _described(self, server: Server) -> dict[str, Any]:
        return images.described(self.conf, server, name="copy", owner="project", image_type="snapshot")

    def _fresh(self) -> Server:
        server = new_server(host=HOST, node=HOST, vm_state=VmState.VM_STATE_ACTIVE, power_state=RUNNING)
        server.launched_at.seconds = 1
        self._prepare(server)
        self.edges.guests.guests[HOST, server.id] = guest_pb2.Guest(
            server_id=server.id, power_state=server.power_state
        )
        self.edges.allocations.held[server.id] = destination(HOST).allocations
        self.cell.db.write(lambda connection: self.cell.servers.insert(connection, [server]))
        return server

    def _prepare(self, server: Server) -> None:
        """What else the server is before it begins."""

    def _images(self, server: Server) -> list[Record]:
        return [
            record
            for record in self.edges.glance.records.values()
            if record.properties["instance_uuid"] == server.id
        ]

    def _kept(self, server: Server) -> None:
        """An image that the server is kept as."""
        server.shelved_image_id = str(uuid.uuid4())
        server.shelved_at.seconds = 1
        self.edges.glance.records[server.shelved_image_id] = Record(
            "kept", "project", {"instance_uuid": server.id}, 1, "active", b"a root disk"
        )

    def _assert_clean(self, server: Server, *, attached: int = 0) -> None:
        assert {copy for copy in self.edges.guest_images.copies if copy[1] == server.id} == set()


class SnapshotCase(ImageCase):
    action = actions.CREATE_IMAGE


class BackupCase(ImageCase):
    action = actions.CREATE_BACKUP

    def payload(self, server: Server) -> dict[str, Any]:
        return {"image": self._described(server), "backup_type": "daily", "rotation": 1}

    def assert_swept(self, operation_id: str) -> None:
        """A backup that was whole by then is kept: it is there for when the server is not."""
        if not any(image.status == "active" for image in self._images(self.server(operation_id))):
            super().assert_swept(operation_id)


class VolumeImageCase(ImageCase):
    """Its root disk is a volume."""

    action = actions.CREATE_VOLUME_IMAGE

    def _prepare(self, server: Server) -> None:
        server.image.id = ""
        server.block_devices.add(
            id="root",
            source=BlockDeviceSource.BLOCK_DEVICE_SOURCE_VOLUME,
            destination=BlockDeviceDestination.BLOCK_DEVICE_DESTINATION_VOLUME,
            volume_id=self.edges.volumes.add().id,
            boot_index=0,
        )

    def done(self, server: Server) -> None:
        (image,) = self._images(server)
        assert (image.status, image.content) == ("active", b"")
        assert self._snapshots(server) == 1

    def undone(self, server: Server) -> None:
        super().undone(server)
        assert self._snapshots(server) == 0

    def assert_swept(self, operation_id: str) -> None:
        super().assert_swept(operation_id)
        assert self._snapshots(self.server(operation_id)) == 0

    def _snapshots(self, server: Server) -> int:
        volume_id = server.block_devices[0].volume_id
        return sum(one.volume_id == volume_id for one in self.edges.volumes.snapshots.values())


class ShelveCase(ImageCase):
    action = actions.SHELVE

    def __init__(self, directory: Path, edges: Edges) -> None:
        super().__init__(directory, edges)
        self.conf.set_override("shelved_offload_time", -1)

    def done(self, server: Server) -> None:
        assert (server.vm_state, server.host) == (VmState.VM_STATE_SHELVED, HOST)
        (image,) = self._images(server)
        assert image is self.edges.glance.records[server.shelved_image_id]
        assert image.status == "active"
        assert self.edges.guests.guests[HOST, server.id].power_state == OFF

    def undone(self, server: Server) -> None:
        super().undone(server)
        assert server.HasField("fault")
        assert server.power_state == RUNNING


class OffloadCase(ImageCase):
    action = actions.OFFLOAD

    def payload(self, server: Server) -> dict[str, Any]:
        return {}

    def _prepare(self, server: Server) -> None:
        server.vm_state, server.power_state = VmState.VM_STATE_SHELVED, OFF
        self._kept(server)

    def done(self, server: Server) -> None:
        assert (server.vm_state, server.host) == (VmState.VM_STATE_SHELVED_OFFLOADED, "")
        assert self.edges.guests.where(server.id) == []
        assert server.id not in self.edges.allocations.held
        assert len(self._images(server)) == 1

    def undone(self, server: Server) -> None:
        """It can be told again."""
        assert (server.vm_state, server.host) == (VmState.VM_STATE_SHELVED, HOST)
        assert server.HasField("fault")
        assert len(self._images(server)) == 1


class UnshelveCase(ImageCase):
    action = actions.UNSHELVE

    def __init__(self, directory: Path, edges: Edges) -> None:
        self._scheduler = GrpcServer(config.load(files=[]), "scheduler", LOOPBACK)
        self._scheduler.add(
            scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server, Scheduler(edges.allocations, [HOST])
        )
        self._scheduler.start()
        super().__init__(directory, edges, scheduler__target=self._scheduler.address)

    def close(self) -> None:
        super().close()
        self._scheduler.stop(0)

    def payload(self, server: Server) -> dict[str, Any]:
        return unshelve.payload(server, RequestSpec(flavor=server.flavor), None)

    def _fresh(self) -> Server:
        server = super()._fresh()
        self.edges.guests.guests.pop((HOST, server.id))
        self.edges.allocations.held.pop(server.id)
        return server

    def _prepare(self, server: Server) -> None:
        server.vm_state = VmState.VM_STATE_SHELVED_OFFLOADED
        server.host = server.node = ""
        self._kept(server)

    def done(self, server: Server) -> None:
        assert (server.vm_state, server.host) == (VmState.VM_STATE_ACTIVE, HOST)
        assert self.edges.guests.where(server.id) == [HOST]
        assert server.id in self.edges.allocations.held
        assert server.shelved_image_id == ""

    def undone(self, server: Server) -> None:
        assert (server.vm_state, server.host) == (VmState.VM_STATE_SHELVED_OFFLOADED, "")
        assert server.HasField("fault")
        assert self.edges.guests.where(server.id) == []
        assert server.id not in self.edges.allocations.held
        assert len(self._images(server)) == 1
