"""A volume service in memory, with the surface of the runtime's adapter."""

from __future__ import annotations

import copy
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from protonova.services.runtime import errors
from protonova.services.runtime.openstack.volume import Snapshot, Volume


class FakeVolumes:
    def __init__(self) -> None:
        self.volumes: dict[str, Volume] = {}
        self.names: dict[str, str] = {}
        self.attachments: dict[str, tuple[str, str]] = {}
        self.connected: dict[str, Mapping[str, Any]] = {}
        self.completed: set[str] = set()
        self.migrations: list[tuple[str, str, bool]] = []
        self.snapshots: dict[str, Snapshot] = {}
        # What the snapshots that are made with our help were told last.
        self.told: dict[str, str] = {}
        self.errors: dict[str, list[errors.Error]] = defaultdict(list)
        # Called when the named method has acted, before it answers.
        self.after: dict[str, Callable[[], object]] = {}
        # How many looks a new volume takes to become available, and what it becomes.
        self.looks = 2
        # With whose rights it acts, and with whose each thing was made: (token, project id); "" = the service's.
        self.rights = ("", "")
        self.made_with: dict[str, tuple[str, str]] = {}
        self.becomes = "available"
        self._left: dict[str, int] = {}

    def acting_for(self, token: str, project_id: str) -> FakeVolumes:
        if not token:
            return self
        acting = copy.copy(self)
        acting.rights = (token, project_id)
        return acting

    def add(self, size_gb: int = 1, **fields: Any) -> Volume:
        made = self._make(size_gb, "available")
        self.volumes[made.id] = replace(made, **fields)
        return self.volumes[made.id]

    def status(self, volume_id: str) -> str:
        return self.volumes[volume_id].status

    def get(self, volume_id: str) -> Volume:
        self._enter("get")
        if volume_id not in self.volumes:
            raise errors.NotFound("There is no such volume.", reason="VOLUME_NOT_FOUND")
        left = self._left.get(volume_id, 0)
        if left:
            self._left[volume_id] = left - 1
            if left == 1:
                self.volumes[volume_id] = replace(self.volumes[volume_id], status=self.becomes)
        return self.volumes[volume_id]

    def named(self, name: str) -> Volume | None:
        volume_id = self.names.get(name)
        return self.volumes.get(volume_id) if volume_id else None

    def create(self, *, size_gb: int, name: str = "", **_: Any) -> Volume:
        self._enter("create")
        volume = self._make(size_gb, "creating")
        self.names[name] = volume.id
        self.made_with[name] = self.rights
        self._left[volume.id] = self.looks
        return volume

    def delete(self, volume_id: str) -> None:
        self._enter("delete")
        self.volumes.pop(volume_id, None)

    def create_attachment(self, volume_id: str, server_id: str) -> str:
        self._enter("create_attachment")
        if volume_id not in self.volumes:
            raise errors.NotFound("There is no such volume.", reason="VOLUME_NOT_FOUND")
        volume = self.volumes[volume_id]
        held = [server for known, server in self.attachments.values() if known == volume_id]
        if held and not volume.multiattach and set(held) != {server_id}:
            raise errors.InvalidArgument("The volume is not available.", reason="EXTERNAL_INVALID")
        attachment_id = str(uuid.uuid4())
        self.attachments[attachment_id] = (volume_id, server_id)
        if "create_attachment" in self.after:
            self.after["create_attachment"]()
        if not held:
            self._set(volume_id, "reserved")
        return attachment_id

    def attachments_of(self, server_id: str) -> dict[str, str]:
        return {volume: key for key, (volume, server) in self.attachments.items() if server == server_id}

    def snapshot_named(self, name: str) -> Snapshot | None:
        return self.snapshots.get(name)

    def create_snapshot(self, volume_id: str, name: str) -> Snapshot:
        self._enter("create_snapshot")
        volume = self.volumes[volume_id]
        made = Snapshot(str(uuid.uuid4()), "available", volume.size_gb, volume_id)
        self.made_with[name] = self.rights
        return self.snapshots.setdefault(name, made)

    def tell_snapshot(self, snapshot_id: str, status: str) -> None:
        self._enter("tell_snapshot")
        self.told[snapshot_id] = status

    def delete_snapshot(self, snapshot_id: str) -> None:
        self._enter("delete_snapshot")
        self.snapshots = {name: one for name, one in self.snapshots.items() if one.id != snapshot_id}

    def attachment_ids(self, server_id: str) -> list[tuple[str, str]]:
        return [(volume, key) for key, (volume, server) in self.attachments.items() if server == server_id]

    def connect_attachment(self, attachment_id: str, connector: Mapping[str, Any]) -> dict[str, Any]:
        self._enter("connect_attachment")
        self.connected[attachment_id] = dict(connector)
        return {"driver_volume_type": "file", "data": {"path": f"/volumes/{attachment_id}"}}

    def complete_attachment(self, attachment_id: str) -> None:
        self._enter("complete_attachment")
        self.completed.add(attachment_id)
        self._set(self.attachments[attachment_id][0], "in-use")

    def attachments_between(self, volume_id: str, server_id: str) -> list[str]:
        return [key for key, pair in self.attachments.items() if pair == (volume_id, server_id)]

    def reimage(self, volume_id: str, image_id: str) -> None:
        self._enter("reimage")
        volume = self.volumes[volume_id]
        if volume.status == "downloading":
            raise errors.InvalidArgument("It is downloading.", reason="INVALID_ARGUMENT")
        held = any(volume_id == held for held, _ in self.attachments.values())
        if any(volume_id == held for key, (held, _) in self.attachments.items() if key in self.completed):
            raise errors.InvalidArgument("It is in use.", reason="INVALID_ARGUMENT")
        assert held, "a volume that is nobody's would be anybody's meanwhile"
        self.volumes[volume_id] = replace(
            volume, status="downloading", image_properties={"image_id": image_id}
        )
        self._left[volume_id] = self.looks

    def delete_attachment(self, attachment_id: str) -> None:
        self._enter("delete_attachment")
        self.completed.discard(attachment_id)
        volume_id, _ = self.attachments.pop(attachment_id, ("", ""))
        if volume_id and volume_id not in {known for known, _ in self.attachments.values()}:
            self._set(volume_id, "available")

    def begin_detaching(self, volume_id: str) -> None:
        self._enter("begin_detaching")
        if self.status(volume_id) != "in-use":
            raise errors.InvalidArgument("The volume is not in use.", reason="EXTERNAL_INVALID")
        self._set(volume_id, "detaching")

    def roll_detaching(self, volume_id: str) -> None:
        self._enter("roll_detaching")
        if self.status(volume_id) == "detaching":
            self._set(volume_id, "in-use")

    def complete_migration(self, volume_id: str, new_volume_id: str, *, failed: bool) -> str:
        """Like the real one, which gives what goes on the id of the volume that was moved."""
        self._enter("complete_migration")
        self.migrations.append((volume_id, new_volume_id, failed))
        moved = replace(self.volumes[volume_id], migration_status="error" if failed else "success")
        self.volumes[volume_id] = moved
        if failed:
            return volume_id
        del self.volumes[new_volume_id]
        for key, (volume, server) in self.attachments.items():
            if volume == new_volume_id:
                self.attachments[key] = (volume_id, server)
        self._set(volume_id, "in-use")
        return volume_id

    def _set(self, volume_id: str, status: str) -> None:
        if volume_id in self.volumes:
            self.volumes[volume_id] = replace(self.volumes[volume_id], status=status)

    def _make(self, size_gb: int, status: str) -> Volume:
        volume = Volume(
            id=str(uuid.uuid4()),
            status=status,
            size_gb=size_gb,
            bootable=True,
            multiattach=False,
            zone="nova",
            project_id="project",
        )
        self.volumes[volume.id] = volume
        return volume

    def _enter(self, method: str) -> None:
        if self.errors[method]:
            raise self.errors[method].pop(0)
