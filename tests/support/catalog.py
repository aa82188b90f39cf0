"""Images, networks and volumes a create request may name, in memory, with the doors the adapters have."""

from __future__ import annotations

import uuid
from dataclasses import replace

from protonova.services.runtime import errors
from protonova.services.runtime.openstack.image import Image
from protonova.services.runtime.openstack.network import FixedIp, Network, Port
from protonova.services.runtime.openstack.volume import Snapshot, Volume


class Images:
    def __init__(self) -> None:
        self.images: dict[str, Image] = {}
        self.calls = 0

    def add(self, **fields) -> str:
        base = Image(
            id=str(uuid.uuid4()),
            name="cirros",
            status="active",
            visibility="public",
            owner="someone",
            disk_format="qcow2",
            container_format="bare",
            size=1 << 20,
        )
        image = replace(base, **fields)
        self.images[image.id] = image
        return image.id

    def get(self, image_id):
        self.calls += 1
        if image_id not in self.images:
            raise errors.NotFound("No such image.", reason="EXTERNAL_NOT_FOUND")
        return self.images[image_id]

    def visible_to(self, image, project_id):
        return image.visibility == "public" or image.owner == project_id


class Networks:
    def __init__(self) -> None:
        self.all: dict[str, Network] = {}
        self.ports: dict[str, Port] = {}
        self.groups: dict[str, str] = {}
        self.calls = 0

    def add(self, project_id="project", *, shared=False, external=False, subnets=("subnet",)) -> str:
        network = Network(str(uuid.uuid4()), "net", project_id, shared, external, 1500, subnets, True)
        self.all[network.id] = network
        return network.id

    def add_port(self, project_id="project", *, device_id="", addresses=1, resource_request=None) -> str:
        port = Port(
            id=str(uuid.uuid4()),
            network_id="the-network",
            project_id=project_id,
            device_id=device_id,
            host="",
            mac="fa:16:3e:00:00:01",
            status="DOWN",
            fixed_ips=tuple(FixedIp(f"10.0.0.{number}", "subnet") for number in range(addresses)),
            vif_type="unbound",
            vnic_type="normal",
            resource_request=resource_request,
        )
        self.ports[port.id] = port
        return port.id

    def networks(self, project_id, ids=()):
        self.calls += 1
        return [
            network
            for network in self.all.values()
            if (network.shared or network.external or network.project_id == project_id)
            and (not ids or network.id in ids)
        ]

    def port(self, port_id):
        self.calls += 1
        if port_id not in self.ports:
            raise errors.NotFound("No such port.", reason="EXTERNAL_NOT_FOUND")
        return self.ports[port_id]

    def security_groups(self, project_id, names_or_ids):
        self.calls += 1
        return {name: self.groups[name] for name in names_or_ids if name in self.groups}


class Volumes:
    def __init__(self) -> None:
        self.volumes: dict[str, Volume] = {}
        self.snapshots: dict[str, Snapshot] = {}

    def add(self, **fields) -> str:
        base = Volume(str(uuid.uuid4()), "available", 1, True, False, "nova", "project")
        volume = replace(base, **fields)
        self.volumes[volume.id] = volume
        return volume.id

    def add_snapshot(self, volume_id: str, status: str = "available") -> str:
        snapshot = Snapshot(str(uuid.uuid4()), status, 3, volume_id)
        self.snapshots[snapshot.id] = snapshot
        return snapshot.id

    def get(self, volume_id):
        if volume_id not in self.volumes:
            raise errors.NotFound("No such volume.", reason="EXTERNAL_NOT_FOUND")
        return self.volumes[volume_id]

    def snapshot(self, snapshot_id):
        if snapshot_id not in self.snapshots:
            raise errors.NotFound("No such snapshot.", reason="EXTERNAL_NOT_FOUND")
        return self.snapshots[snapshot_id]
