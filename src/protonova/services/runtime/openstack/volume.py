"""Volumes, snapshots and attachments, as the volume service (Volume API v3) tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oslo_config import cfg

from protonova.services.runtime.openstack.session import Client

# The first microversion whose attachments are completed explicitly.
_ATTACHMENTS = {"OpenStack-API-Version": "volume 3.44"}


@dataclass(frozen=True)
class Volume:
    id: str
    status: str
    size_gb: int
    bootable: bool
    multiattach: bool
    zone: str
    project_id: str
    image_properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    id: str
    status: str
    size_gb: int
    volume_id: str


class Volumes:
    """The volume service."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._client = Client(conf, "block-storage", "cinder", "", headers=_ATTACHMENTS)

    def get(self, volume_id: str) -> Volume:
        """Raises `errors.NotFound`."""
        return _volume(self._client.get(f"/volumes/{volume_id}")["volume"])

    def named(self, name: str) -> Volume | None:
        """The volume of that name, whichever project's: by it a repeated step finds what it made before."""
        found = self._client.get("/volumes/detail", {"name": name, "all_tenants": "1"})["volumes"]
        return next((_volume(body) for body in found if body.get("name") == name), None)

    def snapshot(self, snapshot_id: str) -> Snapshot:
        """Raises `errors.NotFound`."""
        body = self._client.get(f"/snapshots/{snapshot_id}")["snapshot"]
        return Snapshot(body["id"], body["status"], body["size"], body["volume_id"])

    def create(
        self,
        *,
        size_gb: int,
        name: str = "",
        image_id: str = "",
        snapshot_id: str = "",
        volume_type: str = "",
        zone: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Volume:
        """Begins to make a volume; it can be used once its status is `available`."""
        body: dict[str, Any] = {"size": size_gb, "name": name}
        for key, value in (
            ("imageRef", image_id),
            ("snapshot_id", snapshot_id),
            ("volume_type", volume_type),
            ("availability_zone", zone),
            ("metadata", dict(metadata or {})),
        ):
            if value:
                body[key] = value
        return _volume(self._client.post("/volumes", {"volume": body})["volume"])

    def delete(self, volume_id: str) -> None:
        """A volume that is gone is fine."""
        self._client.delete(f"/volumes/{volume_id}")

    def create_attachment(self, volume_id: str, server_id: str) -> str:
        """Reserves a volume for a server; returns the attachment's id."""
        body = {"volume_uuid": volume_id, "instance_uuid": server_id}
        return str(self._client.post("/attachments", {"attachment": body})["attachment"]["id"])

    def attachments_of(self, server_id: str) -> dict[str, str]:
        """Attachment ids by volume id, by which a repeated step finds what it made before."""
        # Attachments belong to the project of their volume, which is never the service's own.
        query = {"instance_id": server_id, "all_tenants": "1"}
        found = self._client.get("/attachments/detail", query)["attachments"]
        return {body["volume_id"]: body["id"] for body in found if body.get("instance") == server_id}

    def connect_attachment(self, attachment_id: str, connector: Mapping[str, Any]) -> dict[str, Any]:
        """Tells how the connector's host reaches the volume: `{"driver_volume_type": …, "data": {…}}`."""
        body = {"connector": dict(connector)}
        answer = self._client.put(f"/attachments/{attachment_id}", {"attachment": body})["attachment"]
        return _connection(answer["connection_info"])

    def complete_attachment(self, attachment_id: str) -> None:
        """Marks the volume as in use."""
        self._client.post(f"/attachments/{attachment_id}/action", {"os-complete": {}})

    def delete_attachment(self, attachment_id: str) -> None:
        """An attachment that is gone is fine."""
        self._client.delete(f"/attachments/{attachment_id}")


def _connection(info: Mapping[str, Any]) -> dict[str, Any]:
    """The service answers flat; whoever plugs the disk wants the kind apart from its data."""
    if "data" in info:
        return dict(info)
    data = {key: value for key, value in info.items() if key != "driver_volume_type"}
    return {"driver_volume_type": info.get("driver_volume_type", ""), "data": data}


def _volume(body: Mapping[str, Any]) -> Volume:
    return Volume(
        id=body["id"],
        status=body["status"],
        size_gb=body["size"],
        bootable=str(body.get("bootable")).lower() == "true",
        multiattach=bool(body.get("multiattach")),
        zone=body.get("availability_zone") or "",
        project_id=body.get("os-vol-tenant-attr:tenant_id") or "",
        image_properties=body.get("volume_image_metadata") or {},
    )
