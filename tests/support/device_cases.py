"""Kinds of operations on devices, as the proofs of `tests.support.operations` want them: a server on a host with a
guest, and what must be plugged, bound and reserved in the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from protonova.common.v1.server_pb2 import BlockDevice, PowerState, Server, ShareStatus, VmState
from protonova.compute.v1 import guest_pb2
from protonova.conductor.v1 import host_pb2
from protonova.services.conductor import actions, tables
from protonova.services.conductor import cell as cells
from protonova.services.conductor.actions import Action
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations.addresses import ChangeAddresses
from protonova.services.conductor.operations.assisted_snapshot import MergeVolume, SnapshotVolume
from protonova.services.conductor.operations.attach_interface import AttachInterface
from protonova.services.conductor.operations.attach_share import AttachShare
from protonova.services.conductor.operations.attach_volume import AttachVolume
from protonova.services.conductor.operations.delete import Delete
from protonova.services.conductor.operations.detach_interface import DetachInterface
from protonova.services.conductor.operations.detach_share import DetachShare
from protonova.services.conductor.operations.detach_volume import DetachVolume
from protonova.services.conductor.operations.network import interface_of
from protonova.services.conductor.operations.swap_volume import SwapVolume
from protonova.services.conductor.servers import device_names
from protonova.services.conductor.service.begin import Beginnings
from protonova.services.runtime import config, migration
from protonova.services.runtime.database import Database
from protonova.services.runtime.openstack.share import Access
from protonova.services.runtime.operations import Engine
from tests.support.conductor import Edges, as_user, new_server, node_id
from tests.support.operations import LEASE_SECONDS, POLL_SECONDS

HOST, ADDRESS = "host1", "192.0.2.1"


@dataclass
class Subject:
    """What one operation is about."""

    server: str
    thing: str  # a volume's or a port's id
    before: Server | None = None


class DeviceCase:
    """`outcome` says of a subject whether it is as wanted."""

    kind = ""

    def __init__(self, directory: Path, edges: Edges) -> None:
        self.edges = edges
        self.url = f"sqlite:///{directory}/cell.sqlite"
        self._conf = config.load(
            files=[],
            state_path=str(directory),
            database__connection=self.url,
            placement__target=edges.targets["placement"],
            api__target=edges.targets["api"],
        )
        self.network = edges.networks.add_network("private")
        self._cells: dict[int, Cell] = {}
        self.subjects: dict[str, Subject] = {}
        self._base = cells.wire(
            self._conf,
            cells.Outside(self._conf, networks=edges.networks, volumes=edges.volumes, shares=edges.shares),
        )
        migration.upgrade(self._base.db, "protonova.services.conductor.migrations")
        report = host_pb2.HostReport(
            host=HOST,
            node=HOST,
            node_id=node_id(HOST),
            agent_target=edges.targets["agent"],
            host_ip=ADDRESS,
            share_protocols=["NFS"],
        )
        self._base.db.write(lambda c: self._base.hosts.take(c, [report]))

    def close(self) -> None:
        self._base.db.close()
        self._base.outside.close()

    # ---- for the proofs

    def open(self, make: Callable[..., Database]) -> Database:
        return make(self.url)

    def engine(self, db: Database) -> Engine:
        cell = replace(self._base, db=db, hosts=replace_db(self._base, db))
        kinds = [
            kind(cell)
            for kind in (
                AttachVolume,
                DetachVolume,
                SwapVolume,
                AttachShare,
                DetachShare,
                SnapshotVolume,
                MergeVolume,
                AttachInterface,
                DetachInterface,
                ChangeAddresses,
                Delete,
            )
        ]
        engine = Engine(
            db,
            tables.operation_tables,
            kinds,
            owner="test",
            lease_seconds=LEASE_SECONDS,
            poll_seconds=POLL_SECONDS,
        )
        self._cells[id(engine)] = cell
        return engine

    def begin(self, engine: Engine) -> str:
        cell = self._cells[id(engine)]
        server = new_server(host=HOST, node=HOST, vm_state=VmState.VM_STATE_ACTIVE)
        server.launched_at.GetCurrentTime()
        guest = guest_pb2.Guest(server_id=server.id, power_state=PowerState.POWER_STATE_RUNNING)
        self.edges.guests.guests[HOST, server.id] = guest
        thing = self.prepare(server)
        self._base.db.write(lambda c: self._base.servers.insert(c, [server]))
        self._base.db.write(lambda c: self._base.servers.change(c, server.id, self.settle))
        action, payload, alter = self.order(server, thing)
        with as_user():
            operation = Beginnings(cell, engine).action(action, server.id, payload, alter or (lambda _: None))
        self.subjects[operation] = Subject(server.id, thing, server)
        return operation

    def preempt(self, engine: Engine, operation_id: str) -> str:
        cell, subject = self._cells[id(engine)], self.subjects[operation_id]
        with as_user():
            Beginnings(cell, engine).delete(subject.server)
        return next(one.id for one in engine.list(subject=subject.server) if one.kind == "delete")

    def record(self, operation_id: str) -> Server:
        server_id = self.subjects[operation_id].server
        return self._base.db.read(lambda c: self._base.servers.get(c, server_id, include_deleted=True))

    def assert_swept(self, operation_id: str) -> None:
        """Deleted, and nothing of it is left anywhere."""
        server = self.subjects[operation_id].server
        assert self.record(operation_id).HasField("deleted_at")
        assert self.edges.volumes.attachments_of(server) == {}
        assert self.edges.networks.ports_of(server) == []
        assert self.edges.guests.where(server) == []
        assert server not in {held for _, held in self.edges.shares.locks}
        assert not any(share.needs_access for share in self.shares_of(server))

    def shares_of(self, server_id: str) -> list[Any]:
        """The rows that say who must reach what."""
        rows = tables.server_shares
        return self._base.db.read(
            lambda c: list(c.execute(sa.select(rows).where(rows.c.server_id == server_id)))
        )

    # ---- what differs

    def settle(self, server: Server) -> None:
        """What is changed in the record before the operation begins."""

    def prepare(self, server: Server) -> str:
        """What is there before; the id of what it is about."""
        raise NotImplementedError

    def order(self, server: Server, thing: str) -> tuple[Action, dict[str, Any], Callable | None]:
        raise NotImplementedError


def replace_db(cell: Cell, db: Database) -> Any:
    from protonova.services.conductor.hosts.store import Hosts

    return Hosts(db, cell_id=cell.id, service_down_time=3600, enable_new=True)


class VolumeCase(DeviceCase):
    def prepare(self, server: Server) -> str:
        return self.edges.volumes.add().id

    def plug(self, server: Server, volume_id: str) -> BlockDevice:
        """As an attachment that is done leaves it."""
        volumes = self.edges.volumes
        device = server.block_devices.add(id=f"disk-{volume_id}", source=2, destination=2)
        device.volume_id, device.device_name = volume_id, "/dev/vdb"
        device.attachment_id = volumes.create_attachment(volume_id, server.id)
        volumes.connect_attachment(device.attachment_id, {"host": HOST})
        volumes.complete_attachment(device.attachment_id)
        device.connection.update({"driver_volume_type": "file"})
        self.edges.devices.volumes[server.id][volume_id] = "/dev/vdb"
        return device

    def assert_attached(self, operation_id: str) -> None:
        subject, edges = self.subjects[operation_id], self.edges
        (device,) = self.record(operation_id).block_devices
        assert (device.volume_id, device.device_name) == (subject.thing, "/dev/vdb")
        assert edges.volumes.attachments_of(subject.server) == {subject.thing: device.attachment_id}
        assert edges.volumes.status(subject.thing) == "in-use"
        assert edges.devices.volumes[subject.server] == {subject.thing: "/dev/vdb"}

    def assert_free(self, operation_id: str) -> None:
        subject, edges = self.subjects[operation_id], self.edges
        assert not self.record(operation_id).block_devices
        assert edges.volumes.attachments_of(subject.server) == {}
        assert edges.volumes.status(subject.thing) == "available"
        assert edges.devices.volumes[subject.server] == {}


class AttachVolumeCase(VolumeCase):
    kind = "attach_volume"

    def order(self, server: Server, thing: str) -> tuple[Action, dict[str, Any], Callable | None]:
        device = BlockDevice(id=f"disk-{thing}", source=2, destination=2, volume_id=thing)

        def alter(changed: Server) -> None:
            device.device_name = device_names.next_name(changed)
            changed.block_devices.append(device)

        payload = {"device": device.id, "volume": thing, "delete_on_termination": True}
        return actions.ATTACH_VOLUME, payload, alter

    assert_done = VolumeCase.assert_attached
    assert_undone = VolumeCase.assert_free


class AttachShelvedCase(AttachVolumeCase):
    """To a server that is on no host."""

    def prepare(self, server: Server) -> str:
        server.vm_state, server.host, server.node = VmState.VM_STATE_SHELVED_OFFLOADED, "", ""
        del self.edges.guests.guests[HOST, server.id]
        return super().prepare(server)

    def assert_done(self, operation_id: str) -> None:
        subject, edges = self.subjects[operation_id], self.edges
        (device,) = self.record(operation_id).block_devices
        assert edges.volumes.attachments_of(subject.server) == {subject.thing: device.attachment_id}
        assert (edges.volumes.status(subject.thing), edges.volumes.connected) == ("in-use", {})
        assert not edges.devices.volumes[subject.server]


class DetachVolumeCase(VolumeCase):
    kind = "detach_volume"

    def prepare(self, server: Server) -> str:
        volume_id = super().prepare(server)
        self.plug(server, volume_id)
        return volume_id

    def order(self, server: Server, thing: str) -> tuple[Action, dict[str, Any], Callable | None]:
        (device,) = server.block_devices
        payload = {"device": device.id, "volume": thing, "attachment": device.attachment_id}
        return actions.DETACH_VOLUME, payload, None

    assert_done = VolumeCase.assert_free
    assert_undone = VolumeCase.assert_attached


class SwapVolumeCase(DetachVolumeCase):
    kind = "swap_volume"

    def prepare(self, server: Server) -> str:
        volumes = self.edges.volumes
        old = volumes.add(migration_status="migrating")
        self.plug(server, old.id)
        return old.id

    def order(self, server: Server, thing: str) -> tuple[Action, dict[str, Any], Callable | None]:
        _, payload, _ = super().order(server, thing)
        payload["new_volume"] = self.edges.volumes.add(2).id
        return actions.SWAP_VOLUME, payload, None

    def assert_done(self, operation_id: str) -> None:
        subject, edges = self.subjects[operation_id], self.edges
        (device,) = self.record(operation_id).block_devices
        assert (device.volume_id, device.device_name) == (subject.thing, "/dev/vdb")
        assert edges.volumes.attachments_of(subject.server) == {subject.thing: device.attachment_id}
        assert edges.devices.volumes[subject.server] == {subject.thing: "/dev/vdb"}
        assert edges.devices.attachments[subject.server] == {subject.thing: device.attachment_id}


class AssistedCase(DetachVolumeCase):
    """Whatever the volume service was told last is what it stands by."""

    done, failed = "creating", "error"

    def order(self, server: Server, thing: str) -> tuple[Action, dict[str, Any], Callable | None]:
        (device,) = server.block_devices
        payload = {"device": device.id, "volume": thing, "snapshot": f"of-{thing}", "new_file": "top"}
        return actions.SNAPSHOT_VOLUME, payload, None

    def assert_done(self, operation_id: str) -> None:
        self.assert_attached(operation_id)
        subject = self.subjects[operation_id]
        assert self.edges.volumes.told[f"of-{subject.thing}"] == self.done
        self.assert_on_file(operation_id)

    def assert_on_file(self, operation_id: str) -> None:
        subject = self.subjects[operation_id]
        assert self.edges.devices.files[subject.thing] == "top"
        (device,) = self.record(operation_id).block_devices
        assert device.connection["data"]["device_path"] == "top"

    def assert_undone(self, operation_id: str) -> None:
        subject = self.subjects[operation_id]
        self.assert_attached(operation_id)
        assert self.edges.volumes.told[f"of-{subject.thing}"] == self.failed


class SnapshotVolumeCase(AssistedCase):
    kind = "snapshot_volume"


class MergeVolumeCase(AssistedCase):
    kind = "merge_volume"
    done, failed = "deleting", "error_deleting"

    def order(self, server: Server, thing: str) -> tuple[Action, dict[str, Any], Callable | None]:
        _, payload, _ = super().order(server, thing)
        payload.update(file_to_merge="top", merge_target_file="base")
        return actions.MERGE_VOLUME, payload, None

    def assert_on_file(self, operation_id: str) -> None:
        assert self.edges.devices.merged[self.subjects[operation_id].thing] == ("top", "base")


class AttachShareCase(DeviceCase):
    """To a server that is off; on its host nobody else has the share."""

    kind = "attach_share"

    def prepare(self, server: Server) -> str:
        server.vm_state = VmState.VM_STATE_STOPPED
        server.power_state = PowerState.POWER_STATE_SHUTDOWN
        self.edges.guests.guests[HOST, server.id].power_state = server.power_state
        # Nobody renews the lease of a replica that is to die: it waits for nothing.
        self.edges.shares.begins = "active"
        return self.edges.shares.add().id

    def order(self, server: Server, thing: str) -> tuple[Action, dict[str, Any], Callable | None]:
        def alter(changed: Server) -> None:
            changed.shares.add(
                id=f"s-{thing}", share_id=thing, tag="data", protocol="NFS", status="SHARE_STATUS_ATTACHING"
            )

        return actions.ATTACH_SHARE, {"share": thing}, alter

    def assert_done(self, operation_id: str) -> None:
        subject, edges = self.subjects[operation_id], self.edges
        (share,) = self.record(operation_id).shares
        assert (share.share_id, share.plugged) == (subject.thing, True)
        assert share.status == ShareStatus.SHARE_STATUS_INACTIVE
        assert [row.needs_access for row in self.shares_of(subject.server)] == [True]
        assert edges.shares.reached_by(subject.thing) == {ADDRESS}
        assert edges.shares.locked_for(subject.thing) == {subject.server}
        assert edges.devices.shares[subject.server] == {subject.thing: "data"}

    def assert_undone(self, operation_id: str) -> None:
        """Nothing is left of it but the word that it failed."""
        (share,) = self.record(operation_id).shares
        assert (share.status, share.plugged) == (ShareStatus.SHARE_STATUS_ERROR, False)
        self.assert_free(operation_id)

    def assert_free(self, operation_id: str) -> None:
        subject, edges = self.subjects[operation_id], self.edges
        assert not any(row.needs_access for row in self.shares_of(subject.server))
        assert edges.shares.reached_by(subject.thing) == set()
        assert edges.shares.locked_for(subject.thing) == set()
        assert edges.devices.shares[subject.server] == {}

    def assert_swept(self, operation_id: str) -> None:
        super().assert_swept(operation_id)
        assert self.edges.shares.reached_by(self.subjects[operation_id].thing) == set()


class DetachShareCase(AttachShareCase):
    """It only goes forward: what fails is detached again."""

    kind = "detach_share"

    def settle(self, server: Server) -> None:
        share_id, edges = self._thing, self.edges
        server.shares.add(
            id=f"s-{share_id}",
            share_id=share_id,
            tag="data",
            protocol="NFS",
            status="SHARE_STATUS_INACTIVE",
            plugged=True,
        )
        edges.shares.allow(share_id, Access("ip", ADDRESS))
        edges.shares.lock(share_id, server.id)
        edges.devices.shares[server.id][share_id] = "data"

    def prepare(self, server: Server) -> str:
        self._thing = super().prepare(server)
        return self._thing

    def order(self, server: Server, thing: str) -> tuple[Action, dict[str, Any], Callable | None]:
        def alter(changed: Server) -> None:
            changed.shares[0].status = ShareStatus.SHARE_STATUS_DETACHING

        return actions.DETACH_SHARE, {"share": thing}, alter

    def assert_done(self, operation_id: str) -> None:
        assert not self.record(operation_id).shares
        assert not self.shares_of(self.subjects[operation_id].server)
        self.assert_free(operation_id)


class PortCase(DeviceCase):
    """A port of the user's own, unless `made`."""

    made = False

    def prepare(self, server: Server) -> str:
        return "" if self.made else self.edges.networks.add_port(self.network).id

    def plug(self, server: Server, port_id: str) -> None:
        networks = self.edges.networks
        port = networks.bind_port(port_id, server_id=server.id, host=HOST)
        server.interfaces.append(interface_of(port, self.network, created=self.made))
        self.edges.devices.ports[server.id][port_id] = [port.fixed_ips[0].address]

    def assert_plugged(self, operation_id: str) -> None:
        subject, edges = self.subjects[operation_id], self.edges
        (interface,) = self.record(operation_id).interfaces
        (port,) = edges.networks.ports_of(subject.server)
        assert interface.port_id == port.id == (subject.thing or port.id)
        assert (interface.network_name, port.host) == ("private", HOST)
        assert interface.created_for_server is self.made
        assert edges.devices.ports[subject.server] == {port.id: [port.fixed_ips[0].address]}

    def assert_free(self, operation_id: str) -> None:
        subject, edges = self.subjects[operation_id], self.edges
        assert not self.record(operation_id).interfaces
        assert edges.networks.ports_of(subject.server) == []
        assert edges.devices.ports[subject.server] == {}
        self._stays(subject)

    def assert_swept(self, operation_id: str) -> None:
        super().assert_swept(operation_id)
        self._stays(self.subjects[operation_id])

    def _stays(self, subject: Subject) -> None:
        """What was the user's is there as before; what was made is not."""
        if subject.thing:
            assert (subject.thing in self.edges.networks.ports) is not self.made
        else:
            assert all(port.device_id for port in self.edges.networks.ports.values())


class AttachPortCase(PortCase):
    kind = "attach_interface"

    def order(self, server: Server, thing: str) -> tuple[Action, dict[str, Any], Callable | None]:
        network = "" if thing else self.network.id
        payload = {"port": thing, "network": network, "address": "", "tag": ""}
        return actions.ATTACH_INTERFACE, payload, None

    assert_done = PortCase.assert_plugged
    assert_undone = PortCase.assert_free


class AttachNetworkCase(AttachPortCase):
    made = True


class DetachPortCase(PortCase):
    kind = "detach_interface"

    def prepare(self, server: Server) -> str:
        port_id = self.edges.networks.add_port(self.network).id
        self.plug(server, port_id)
        return port_id

    def order(self, server: Server, thing: str) -> tuple[Action, dict[str, Any], Callable | None]:
        return actions.DETACH_INTERFACE, {"port": thing, "created": self.made}, None

    assert_done = PortCase.assert_free

    def assert_undone(self, operation_id: str) -> None:
        self.assert_plugged(operation_id)


class GroupCase(DetachPortCase):
    """A port put into a security group."""

    kind = "change_addresses"

    def order(self, server: Server, thing: str) -> tuple[Action, dict[str, Any], Callable | None]:
        self.edges.networks.groups.setdefault("web", "11111111-1111-1111-1111-111111111111")
        change = {
            "before": {"security_groups": []},
            "after": {"security_groups": [self.edges.networks.groups["web"]]},
        }
        return (
            actions.CHANGE_ADDRESSES,
            {"ports": {thing: change}, "refusal": "SECURITY_GROUP_UNUSABLE"},
            None,
        )

    def assert_done(self, operation_id: str) -> None:
        self.assert_plugged(operation_id)
        assert list(self.record(operation_id).security_groups) == ["web"]

    def assert_undone(self, operation_id: str) -> None:
        (port,) = self.edges.networks.ports_of(self.subjects[operation_id].server)
        assert port.security_groups == ()
