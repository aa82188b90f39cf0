"""Images, as the image service (Image API v2) tells of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from oslo_config import cfg

from protonova.services.runtime import errors
from protonova.services.runtime.openstack.session import Client

# What the image service says of an image itself; everything else in a record is a property its owner gave.
OWN_FIELDS = frozenset(
    {"id", "name", "status", "visibility", "owner", "disk_format", "container_format", "size", "virtual_size"}
    | {"checksum", "os_hash_algo", "os_hash_value", "min_disk", "min_ram", "protected", "tags", "os_hidden"}
    | {"created_at", "updated_at", "file", "schema", "self", "locations", "direct_url", "stores"}
)


@dataclass(frozen=True)
class Image:
    """An image's record. Sizes: `size` in bytes, `min_disk_gb` in GiB, `min_memory_mb` in MiB."""

    id: str
    name: str
    status: str
    visibility: str
    owner: str
    disk_format: str
    container_format: str
    size: int
    checksum: str = ""
    hash_algorithm: str = ""
    hash_value: str = ""
    min_disk_gb: int = 0
    min_memory_mb: int = 0
    protected: bool = False
    properties: Mapping[str, str] = field(default_factory=dict)


class Images:
    """The image service."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._client = Client(conf, "image", "glance", "/v2")

    def get(self, image_id: str) -> Image:
        """Raises `errors.NotFound`."""
        return _image(self._client.get(f"/images/{image_id}"))

    def visible_to(self, image: Image, project_id: str) -> bool:
        """Whether members of a project may use an image: public, community, their own, or shared with it."""
        if image.visibility in ("public", "community") or image.owner == project_id:
            return True
        if image.visibility != "shared":
            return False
        try:
            member = self._client.get(f"/images/{image.id}/members/{project_id}")
        except errors.NotFound:
            return False
        return member["status"] != "rejected"

    def download(self, image_id: str) -> Iterator[bytes]:
        """The image's bytes, in chunks of about 1 MiB."""
        return self._client.stream(f"/images/{image_id}/file")

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
        """Makes a record without bytes, of an id of the caller's choice; one that is there stays as it is."""
        body = {
            **properties,
            "id": image_id,
            "name": name,
            "owner": owner,
            "visibility": "private",
            "min_disk": min_disk_gb,
            "min_ram": min_memory_mb,
        }
        try:
            self._client.post("/images", body)
        except errors.FailedPrecondition:  # 409: an earlier try has made it
            self.get(image_id)

    def change(self, image_id: str, properties: Mapping[str, str]) -> None:
        """Sets fields and properties. Raises `errors.NotFound`."""
        there = self._client.get(f"/images/{image_id}")
        patch = [
            {"op": "replace" if name in there else "add", "path": f"/{name}", "value": value}
            for name, value in properties.items()
            if there.get(name) != value
        ]
        if patch:
            self._client.patch(f"/images/{image_id}", patch)

    def upload(self, image_id: str, data: BinaryIO | bytes) -> None:
        """Sends an image's bytes, which makes it active. Raises `errors.NotFound`."""
        self._client.send(f"/images/{image_id}/file", data)

    def delete(self, image_id: str) -> None:
        """An image that is gone is fine."""
        self._client.delete(f"/images/{image_id}")

    def backups_of(self, server_id: str, backup_type: str) -> list[str]:
        """Ids of the backups of one kind of a server, newest first."""
        query = {
            "image_type": "backup",
            "instance_uuid": server_id,
            "backup_type": backup_type,
            "sort": "created_at:desc,id:desc",
        }
        found: list[str] = []
        path: str | None = "/images"
        while path:
            page = self._client.get(path, query)
            found += [body["id"] for body in page["images"]]
            # The address of the next page has the query in it, and the version that the client puts before.
            path, query = (page.get("next") or "").removeprefix("/v2") or None, {}
        return found


def _image(body: Mapping[str, Any]) -> Image:
    return Image(
        id=body["id"],
        name=body.get("name") or "",
        status=body["status"],
        visibility=body["visibility"],
        owner=body.get("owner") or "",
        disk_format=body.get("disk_format") or "",
        container_format=body.get("container_format") or "",
        size=body.get("size") or 0,
        checksum=body.get("checksum") or "",
        hash_algorithm=body.get("os_hash_algo") or "",
        hash_value=body.get("os_hash_value") or "",
        min_disk_gb=body.get("min_disk") or 0,
        min_memory_mb=body.get("min_ram") or 0,
        protected=bool(body.get("protected")),
        properties={
            name: str(value) for name, value in body.items() if name not in OWN_FIELDS and value is not None
        },
    )
