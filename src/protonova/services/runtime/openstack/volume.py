"""Volumes, snapshots and attachments, as the volume service (Volume API v3) tells of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from oslo_config import cfg

from protonova.services.runtime import errors
from protonova.services.runtime.openstack.session import Client

# The first microversion whose attachments are completed explicitly.
_ATTACHMENTS = {"OpenStack-API-Version": "volume 3.44"}
# The first one that writes images over volumes.
_REIMAGE = {"OpenStack-API-Version": "volume 3.68"}


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
    # Set by the volume service while it moves the volume elsewhere; empty = it does not.
    migration_status: str = ""
    # Servers it is attached to.
    server_ids: tuple[str, ...] = ()


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
        self._reimaging = Client(conf, "block-storage", "cinder", "", headers=_REIMAGE)

    def acting_for(self, token: str, project_id: str) -> Volumes:
        """The same, but what is made belongs to the project of whoever has the token; without one it is the
        service's own."""
        if not token:
            return self
        acting = copy.copy(self)
        acting._client = self._client.acting_for(token, project_id)
        return acting

    def get(self, volume_id: str) -> Volume:
        """Raises `errors.NotFound`."""
        return _volume(self._client.get(f"/volumes/{volume_id}")["volume"])

    def named(self, name: str) -> Volume | None:
        """The volume of that name, whichever project's: by it a repeated step finds what it made before."""
        found = self._client.get("/volumes/detail", {"name": name, "all_tenants": "1"})["volumes"]
        return next((_volume(body) for body in found if body.get("name") == name), None)

    def snapshot(self, snapshot_id: str) -> Snapshot:
        """Raises `errors.NotFound`."""
        return _snapshot(self._client.get(f"/snapshots/{snapshot_id}")["snapshot"])

    def snapshot_named(self, name: str) -> Snapshot | None:
        """The snapshot of that name, whichever project's: by it a repeated step finds what it made before."""
        found = self._client.get("/snapshots/detail", {"name": name, "all_tenants": "1"})["snapshots"]
        return next((_snapshot(body) for body in found if body.get("name") == name), None)

    def create_snapshot(self, volume_id: str, name: str) -> Snapshot:
        """Begins a snapshot of a volume that may be in use."""
        body = {"volume_id": volume_id, "name": name, "force": True}
        return _snapshot(self._client.post("/snapshots", {"snapshot": body})["snapshot"])

    def delete_snapshot(self, snapshot_id: str) -> None:
        """A snapshot that is gone is fine."""
        self._client.delete(f"/snapshots/{snapshot_id}")

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

    def tell_snapshot(self, snapshot_id: str, status: str) -> None:
        """How far a snapshot has come that the service makes with our help; one that is gone is fine."""
        body: dict[str, Any] = {"status": status}
        if status == "creating":
            body["progress"] = "90%"
        try:
            self._client.post(
                f"/snapshots/{quote(snapshot_id, safe='')}/action", {"os-update_snapshot_status": body}
            )
        except errors.NotFound:
            return

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

    def attachment_ids(self, server_id: str) -> list[tuple[str, str]]:
        """(volume id, attachment id) of all attachments of a server; a volume on the move has several."""
        query = {"instance_id": server_id, "all_tenants": "1"}
        found = self._client.get("/attachments/detail", query)["attachments"]
        return [(body["volume_id"], body["id"]) for body in found if body.get("instance") == server_id]

    def connect_attachment(self, attachment_id: str, connector: Mapping[str, Any]) -> dict[str, Any]:
        """Tells how the connector's host reaches the volume: `{"driver_volume_type": …, "data": {…}}`."""
        body = {"connector": dict(connector)}
        answer = self._client.put(f"/attachments/{attachment_id}", {"attachment": body})["attachment"]
        return _connection(answer["connection_info"])

    def complete_attachment(self, attachment_id: str) -> None:
        """Marks the volume as in use."""
        self._client.post(f"/attachments/{attachment_id}/action", {"os-complete": {}})

    def attachments_between(self, volume_id: str, server_id: str) -> list[str]:
        """The ids of all attachments of a volume to a server, usually one."""
        query = {"instance_id": server_id, "all_tenants": "1"}
        found = self._client.get("/attachments/detail", query)["attachments"]
        return [
            body["id"]
            for body in found
            if body.get("instance") == server_id and body["volume_id"] == volume_id
        ]

    def reimage(self, volume_id: str, image_id: str) -> None:
        """Begins to write an image over a volume, also one that is reserved for a server; until that is done its
        status is `downloading`. Raises `errors.InvalidArgument` in any other status."""
        body = {"image_id": image_id, "reimage_reserved": True}
        self._reimaging.post(f"/volumes/{volume_id}/action", {"os-reimage": body})

    def delete_attachment(self, attachment_id: str) -> None:
        """An attachment that is gone is fine."""
        self._client.delete(f"/attachments/{attachment_id}")

    def begin_detaching(self, volume_id: str) -> None:
        """Marks a volume that is in use as about to be taken from its server."""
        self._client.post(f"/volumes/{volume_id}/action", {"os-begin_detaching": {}})

    def roll_detaching(self, volume_id: str) -> None:
        """Takes that mark away."""
        self._client.post(f"/volumes/{volume_id}/action", {"os-roll_detaching": {}})

    def complete_migration(self, volume_id: str, new_volume_id: str, *, failed: bool) -> str:
        """Tells that what was on a volume is on the new one, or could not be brought there. Returns the id under
        which the volume goes on."""
        body = {"os-migrate_volume_completion": {"new_volume": new_volume_id, "error": failed}}
        answer = self._client.post(f"/volumes/{volume_id}/action", body)
        return str(answer["save_volume_id"]) if answer else new_volume_id


def _connection(info: Mapping[str, Any]) -> dict[str, Any]:
    """The service answers flat; whoever plugs the disk wants the kind apart from its data."""
    if "data" in info:
        return dict(info)
    data = {key: value for key, value in info.items() if key != "driver_volume_type"}
    return {"driver_volume_type": info.get("driver_volume_type", ""), "data": data}


def _snapshot(body: Mapping[str, Any]) -> Snapshot:
    return Snapshot(body["id"], body["status"], body["size"], body["volume_id"])


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
        migration_status=body.get("migration_status") or "",
        server_ids=tuple(held["server_id"] for held in body.get("attachments") or ()),
    )
