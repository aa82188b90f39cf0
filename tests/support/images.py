"""An image service in memory, with the surface of the runtime's adapter."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from protonova.services.runtime import errors
from protonova.services.runtime.openstack.image import Image


@dataclass
class Record:
    """What was asked to be made."""

    name: str
    owner: str
    properties: dict[str, str]
    min_disk_gb: int
    status: str = "queued"
    content: bytes = b""
    sequence: int = 0
    fields: dict[str, str] = field(default_factory=dict)


class FakeImages:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.records: dict[str, Record] = {}
        self.errors: dict[str, list[errors.Error]] = defaultdict(list)

    def get(self, image_id: str) -> Image:
        record = self._there(image_id)
        return Image(image_id, record.name, record.status, "private", record.owner, "raw", "bare", 0)

    def create(
        self,
        *,
        image_id: str,
        name: str,
        owner: str,
        properties: Mapping[str, str],
        min_disk_gb: int = 0,
        min_memory_mb: int = 0,
    ) -> None:
        self._enter("create")
        with self.lock:
            record = Record(name, owner, dict(properties), min_disk_gb, sequence=len(self.records))
            self.records.setdefault(image_id, record)

    def change(self, image_id: str, properties: Mapping[str, str]) -> None:
        self._enter("change")
        self._there(image_id).fields.update(properties)

    def upload(self, image_id: str, data) -> None:
        self._enter("upload")
        record = self._there(image_id)
        record.content = data if isinstance(data, bytes) else data.read()
        record.status = "active"

    def delete(self, image_id: str) -> None:
        self._enter("delete")
        with self.lock:
            self.records.pop(image_id, None)

    def backups_of(self, server_id: str, backup_type: str) -> list[str]:
        wanted = {"image_type": "backup", "instance_uuid": server_id, "backup_type": backup_type}
        found = [
            (record.sequence, key)
            for key, record in self.records.items()
            if wanted.items() <= record.properties.items()
        ]
        return [key for _, key in sorted(found, reverse=True)]

    def _there(self, image_id: str) -> Record:
        if image_id not in self.records:
            raise errors.NotFound("There is no such image.", reason="EXTERNAL_NOT_FOUND")
        return self.records[image_id]

    def _enter(self, method: str) -> None:
        if self.errors[method]:
            raise self.errors[method].pop(0)
