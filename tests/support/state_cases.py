"""The `Case`s of the conductor's operations on servers that stay where they are: see tests.support.operations."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from protonova.common.v1.server_pb2 import ImageSnapshot, PowerState, Server, TaskState, VmState
from protonova.compute.v1 import guest_pb2
from protonova.conductor.v1 import host_pb2, server_pb2
from protonova.services.conductor import actions, tables
from protonova.services.conductor import cell as cells
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.hosts.store import Hosts
from protonova.services.conductor.main import MIGRATIONS
from protonova.services.conductor.operations import rebuild
from protonova.services.conductor.operations.delete import Delete
from protonova.services.conductor.operations.rescue import Rescue
from protonova.services.conductor.operations.soft_delete import Restore, SoftDelete
from protonova.services.conductor.service.begin import Beginnings
from protonova.services.runtime import config, migration
from protonova.services.runtime.database import Database
from protonova.services.runtime.operations import Engine
from tests.support.conductor import Edges, destination, new_server, node_id
from tests.support.operations import LEASE_SECONDS, POLL_SECONDS

HOST = "host1"
IMAGE = ImageSnapshot(id=str(uuid.UUID(int=5)), name="other")
RUNNING = PowerState.POWER_STATE_RUNNING


class StateCase:
    """A server that is ACTIVE, with a guest, boots from a volume and holds something in placement."""

    kind = ""

    def __init__(self, directory: Path, edges: Edges, **options: Any) -> None:
        self.edges = edges
        self.url = f"sqlite:///{directory}/cell.sqlite"
        self.conf = config.load(
            files=[],
            **{
                "state_path": str(directory),
                "database__connection": self.url,
                "placement__target": edges.targets["placement"],
                "api__target": edges.targets["api"],
                "scheduler__target": edges.targets["scheduler"],
                "conductor__volume_poll_interval": 0.01,
                "reclaim_instance_interval": 3600,
                **options,
            },
        )
        outside = cells.Outside(
            self.conf, networks=edges.networks, volumes=edges.volumes, images=edges.glance
        )
        self.cell = cells.wire(self.conf, outside)
        migration.upgrade(self.cell.db, MIGRATIONS)
        report = host_pb2.HostReport(
            host=HOST, node=HOST, node_id=node_id(HOST), agent_target=edges.targets["agent"]
        )
        self.cell.db.write(lambda connection: self.cell.hosts.take(connection, [report]))
        self._servers: dict[str, str] = {}

    def close(self) -> None:
        self.cell.outside.close()
        self.cell.db.close()

    # ---- what the proofs ask for

    def open(self, make: Callable[[str], Database]) -> Database:
        return make(self.url)

    def engine(self, db: Database) -> Engine:
        cell = self._on(db)
        return Engine(
            db,
            tables.operation_tables,
            [Delete(cell), Rescue(cell), rebuild.Rebuild(cell), SoftDelete(cell), Restore(cell)],
            owner="test",
            lease_seconds=LEASE_SECONDS,
            poll_seconds=POLL_SECONDS,
        )

    def begin(self, engine: Engine) -> str:
        server = self._fresh()
        self.act(Beginnings(self._on(engine.db), engine), server.id)
        return self._begun(engine, server.id)

    def preempt(self, engine: Engine, operation_id: str) -> str:
        server_id = self._servers[operation_id]
        Beginnings(self._on(engine.db), engine).delete(server_id, force=True)
        return self._begun(engine, server_id)

    def assert_done(self, operation_id: str) -> None:
        server = self.server(operation_id)
        assert server.task_state == TaskState.TASK_STATE_UNSPECIFIED
        self._assert_clean(server)
        self.done(server)

    def assert_undone(self, operation_id: str) -> None:
        server = self.server(operation_id)
        assert server.task_state == TaskState.TASK_STATE_UNSPECIFIED
        assert server.HasField("fault")
        self._assert_clean(server)
        self.undone(server)

    def assert_swept(self, operation_id: str) -> None:
        server = self.server(operation_id)
        assert server.vm_state == VmState.VM_STATE_DELETED
        assert self.edges.guests.where(server.id) == []
        assert self.edges.volumes.attachments_of(server.id) == {}
        assert server.id not in self.edges.allocations.held
        assert server.id in self.edges.region.released
        self._assert_clean(server, attached=0)

    # ---- what a kind says of itself

    def act(self, begin: Beginnings, server_id: str) -> None:
        raise NotImplementedError

    def done(self, server: Server) -> None:
        raise NotImplementedError

    def undone(self, server: Server) -> None:
        raise NotImplementedError

    # ---- inside

    def server(self, operation_id: str) -> Server:
        server_id = self._servers[operation_id]
        return self.cell.db.read(lambda c: self.cell.servers.get(c, server_id, include_deleted=True))

    def _on(self, db: Database) -> Cell:
        hosts = Hosts(db, cell_id=self.cell.id, service_down_time=3600, enable_new=True)
        return replace(self.cell, db=db, hosts=hosts)

    def _fresh(self) -> Server:
        volume = self.edges.volumes.add()
        server = new_server(host=HOST, node=HOST, vm_state=VmState.VM_STATE_ACTIVE, power_state=RUNNING)
        server.image.id = ""
        server.launched_at.seconds = 1
        attachment = self.edges.volumes.create_attachment(volume.id, server.id)
        self.edges.volumes.complete_attachment(attachment)
        server.block_devices.add(
            id="root", source=2, destination=2, volume_id=volume.id, attachment_id=attachment, boot_index=0
        )
        self.edges.guests.guests[HOST, server.id] = guest_pb2.Guest(server_id=server.id, power_state=RUNNING)
        self.edges.allocations.held[server.id] = destination(HOST).allocations
        self.cell.db.write(lambda connection: self.cell.servers.insert(connection, [server]))
        return server

    def _begun(self, engine: Engine, server_id: str) -> str:
        query = sa.select(tables.operation_tables.operations.c.id).where(
            tables.operation_tables.operations.c.subject == server_id
        )
        newest = query.order_by(tables.operation_tables.operations.c.sequence.desc()).limit(1)
        operation_id = str(self.cell.db.read(lambda connection: connection.scalar(newest)))
        self._servers[operation_id] = server_id
        return operation_id

    def _assert_clean(self, server: Server, *, attached: int = 1) -> None:
        """No secret is kept, and the volume is held as often as it should be."""
        kept = sa.select(tables.builds.c.server_id).where(tables.builds.c.server_id == server.id)
        assert self.cell.db.read(lambda connection: connection.scalar(kept)) is None
        volume_id = server.block_devices[0].volume_id
        assert len(self.edges.volumes.attachments_between(volume_id, server.id)) == attached


class RebuildCase(StateCase):
    kind = "rebuild"

    def act(self, begin: Beginnings, server_id: str) -> None:
        request = server_pb2.RebuildServerRequest(
            server=Server(image=IMAGE), reimage=True, other_image=True, admin_password="x"
        )
        begin.action(
            actions.REBUILD,
            server_id,
            kept=server_pb2.ServerBuild(admin_password="x"),
            alter=lambda server: rebuild.alter_record(server, request),
        )

    def done(self, server: Server) -> None:
        assert (server.vm_state, server.image.name) == (VmState.VM_STATE_ACTIVE, "other")
        assert server.id in self.edges.guests.rebuilt
        [device] = server.block_devices
        assert self.edges.volumes.attachments_of(server.id) == {device.volume_id: device.attachment_id}
        assert self.edges.volumes.volumes[device.volume_id].image_properties == {"image_id": IMAGE.id}

    def undone(self, server: Server) -> None:
        """Nothing was touched, or it is an ERROR with all it had."""
        if server.vm_state == VmState.VM_STATE_ACTIVE:
            assert server.image.name != "other"
            assert server.id not in self.edges.guests.rebuilt
        else:
            assert server.vm_state == VmState.VM_STATE_ERROR
        assert self.edges.guests.where(server.id) == [HOST]
        assert server.id in self.edges.allocations.held


class RescueCase(StateCase):
    kind = "rescue"

    def act(self, begin: Beginnings, server_id: str) -> None:
        kept = server_pb2.ServerBuild(server=Server(image=IMAGE), admin_password="x")
        begin.action(actions.RESCUE, server_id, kept=kept)

    def done(self, server: Server) -> None:
        assert server.vm_state == VmState.VM_STATE_RESCUED
        assert self.edges.guests.rescued[server.id] == IMAGE.id

    def undone(self, server: Server) -> None:
        assert server.vm_state == VmState.VM_STATE_ACTIVE
        assert server.id not in self.edges.guests.rescued
        assert self.edges.guests.guests[HOST, server.id].power_state == RUNNING


class SoftDeleteCase(StateCase):
    kind = "soft_delete"

    def act(self, begin: Beginnings, server_id: str) -> None:
        begin.delete(server_id)

    def done(self, server: Server) -> None:
        assert server.vm_state == VmState.VM_STATE_SOFT_DELETED
        assert server.HasField("soft_deleted_at")
        assert server.id in self.edges.region.uncharged
        assert self.edges.guests.guests[HOST, server.id].power_state != RUNNING

    def undone(self, server: Server) -> None:
        assert server.vm_state == VmState.VM_STATE_ACTIVE
        assert server.id not in self.edges.region.uncharged
        assert not server.HasField("soft_deleted_at")
        assert server.power_state == RUNNING
        assert self.edges.guests.guests[HOST, server.id].power_state == RUNNING


class RestoreCase(StateCase):
    kind = "restore"

    def _fresh(self) -> Server:
        server = super()._fresh()

        def alter(changed: Server) -> None:
            changed.vm_state = VmState.VM_STATE_SOFT_DELETED
            changed.soft_deleted_at.seconds = 1

        self.edges.guests.guests[HOST, server.id].power_state = PowerState.POWER_STATE_SHUTDOWN
        self.edges.region.uncharged.add(server.id)
        return self.cell.db.write(lambda c: self.cell.servers.change(c, server.id, alter))

    def act(self, begin: Beginnings, server_id: str) -> None:
        begin.action(actions.RESTORE, server_id)

    def done(self, server: Server) -> None:
        assert server.vm_state == VmState.VM_STATE_ACTIVE
        assert not server.HasField("soft_deleted_at")
        assert server.id not in self.edges.region.uncharged
        assert self.edges.guests.guests[HOST, server.id].power_state == RUNNING

    def undone(self, server: Server) -> None:
        assert server.vm_state == VmState.VM_STATE_SOFT_DELETED
        assert server.HasField("soft_deleted_at")
        assert server.id in self.edges.region.uncharged
