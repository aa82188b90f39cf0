"""Images, as the image service (Image API v2) tells of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from oslo_config import cfg

from protonova.services.runtime import errors
from protonova.services.runtime.openstack.session import Client

# What the image service says of an image itself; everything else in a record is a property its owner gave.
_OWN_FIELDS = frozenset(
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
            name: str(value) for name, value in body.items() if name not in _OWN_FIELDS and value is not None
        },
    )
