"""A volume service in memory, with the surface of the runtime's adapter."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from protonova.services.runtime import errors
from protonova.services.runtime.openstack.volume import Volume


class FakeVolumes:
    def __init__(self) -> None:
        self.volumes: dict[str, Volume] = {}
        self.names: dict[str, str] = {}
        self.attachments: dict[str, tuple[str, str]] = {}
        self.connected: dict[str, Mapping[str, Any]] = {}
        self.completed: set[str] = set()
        self.errors: dict[str, list[errors.Error]] = defaultdict(list)
        # Called when the named method has acted, before it answers.
        self.after: dict[str, Callable[[], object]] = {}
        # How many looks a new volume takes to become available, and what it becomes.
        self.looks = 2
        self.becomes = "available"
        self._left: dict[str, int] = {}

    def add(self, size_gb: int = 1) -> Volume:
        return self._make(size_gb, "available")

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
        self._left[volume.id] = self.looks
        return volume

    def delete(self, volume_id: str) -> None:
        self._enter("delete")
        self.volumes.pop(volume_id, None)

    def create_attachment(self, volume_id: str, server_id: str) -> str:
        self._enter("create_attachment")
        if volume_id not in self.volumes:
            raise errors.NotFound("There is no such volume.", reason="VOLUME_NOT_FOUND")
        attachment_id = str(uuid.uuid4())
        self.attachments[attachment_id] = (volume_id, server_id)
        if "create_attachment" in self.after:
            self.after["create_attachment"]()
        return attachment_id

    def attachments_of(self, server_id: str) -> dict[str, str]:
        return {volume: key for key, (volume, server) in self.attachments.items() if server == server_id}

    def connect_attachment(self, attachment_id: str, connector: Mapping[str, Any]) -> dict[str, Any]:
        self._enter("connect_attachment")
        self.connected[attachment_id] = dict(connector)
        return {"driver_volume_type": "file", "data": {"path": f"/volumes/{attachment_id}"}}

    def complete_attachment(self, attachment_id: str) -> None:
        self._enter("complete_attachment")
        self.completed.add(attachment_id)

    def delete_attachment(self, attachment_id: str) -> None:
        self._enter("delete_attachment")
        self.attachments.pop(attachment_id, None)

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
