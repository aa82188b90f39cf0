"""Servers that are booted from another image, or made anew: what is asked for is looked up and checked as for a new
server, against what the server is."""

from __future__ import annotations

from sqlalchemy import Connection

from protonova.api.v1 import server_pb2 as pb
from protonova.common.v1.server_pb2 import BlockDevice, ImageSnapshot, Server
from protonova.conductor.v1 import server_pb2 as conductor_pb
from protonova.services.api import keypairs
from protonova.services.api.creation import block_devices, fields, images, numa
from protonova.services.api.creation.images import ImageLookup
from protonova.services.api.creation.plan import generated_password
from protonova.services.api.creation.volumes import VolumeSource
from protonova.services.api.limits import Limits
from protonova.services.runtime import errors
from protonova.services.runtime.config import Conf
from protonova.services.runtime.context import RequestContext
from protonova.services.runtime.database import Database

_STABLE = ("hw_rescue_bus", "hw_rescue_device")


class Preparer:
    """Says what the cell is asked."""

    def __init__(
        self, conf: Conf, db: Database, limits: Limits, lookup: ImageLookup, volumes: VolumeSource
    ) -> None:
        self._conf = conf
        self._db = db
        self._limits = limits
        self._images = lookup
        self._volumes = volumes

    def rescue(
        self, request: pb.RescueServerRequest, server: Server, caller: RequestContext
    ) -> conductor_pb.RescueServerRequest:
        """Raises IMAGE_UNUSABLE, FLAVOR_TOO_SMALL, RESCUE_UNSUPPORTED."""
        image_id = request.image_id or str(self._conf.libvirt.rescue_image_id) or server.image.id
        if not image_id:
            raise errors.InvalidArgument(
                f"Server {server.id} boots from a volume: a rescue image must be named.",
                reason="RESCUE_UNSUPPORTED",
                server_id=server.id,
            )
        image = images.snapshot(self._images.usable(image_id, caller, "rescue_image_ref"))
        if booted_volume(server) is not None:
            _check_volume_rescue(server, image, allowed=request.allow_volume_backed)
        images.check_memory(image, server.flavor)
        images.check_local_root(image, server.flavor)
        return conductor_pb.RescueServerRequest(
            id=server.id, image=image, admin_password=self._password(request.admin_password)
        )

    def rebuild(
        self, request: pb.RebuildServerRequest, server: Server, caller: RequestContext
    ) -> conductor_pb.RebuildServerRequest:
        """Raises IMAGE_UNUSABLE, FLAVOR_TOO_SMALL, REBUILD_UNSUPPORTED, NUMA_INVALID, NUMA_CHANGED,
        KEYPAIR_NOT_FOUND, CERTIFICATES_INVALID, and what `fields.check` does."""
        given, mask = request.server, set(request.update_mask.paths)
        wanted = Server()
        wanted.CopyFrom(given)
        wanted.key_data = self._check_fields(request, server, mask)
        if "key_name" in mask:
            mask.add("key_data")
        image = images.snapshot(self._images.usable(request.image_id, caller, "imageRef"))
        automatic = given.auto_disk_config if "auto_disk_config" in mask else server.auto_disk_config
        images.check_properties(image, auto_disk_config=automatic, field="imageRef")
        images.check_memory(image, server.flavor)
        volume = booted_volume(server)
        if volume is None:
            images.check_local_root(image, server.flavor)
            other = image.id != server.image.id
        else:
            images.check_volume_root(image, server.flavor, volume.size_gb)
            other = self._check_volume_rebuild(request, server, volume, image)
        if other:
            _check_topology(server, image)
        wanted.image.CopyFrom(image)
        asked = conductor_pb.RebuildServerRequest(
            id=server.id,
            server=wanted,
            admin_password=self._password(request.admin_password),
            files=[conductor_pb.BuildFile(path=file.path, contents=file.contents) for file in request.files],
            preserve_ephemeral=request.preserve_ephemeral,
            other_image=other,
            reimage=volume is not None and request.allow_volume_backed,
        )
        asked.update_mask.paths.extend(sorted(mask))
        return asked

    def _check_fields(self, request: pb.RebuildServerRequest, server: Server, mask: set[str]) -> str:
        """Checks what needs nothing but the request; returns the public key it names."""
        given = request.server
        as_created = pb.CreateServersRequest(
            name=given.name if "name" in mask else server.name,
            hostname=given.hostname,
            metadata=given.metadata,
            user_data=given.user_data,
            access_ip_v4=given.access_ip_v4,
            access_ip_v6=given.access_ip_v6,
            trusted_image_certificates=given.trusted_image_certificates,
            files=request.files,
        )

        def read(connection: Connection) -> str:
            limits, _ = self._limits.of(connection, server.project_id)
            fields.check(as_created, 1, limits)
            if not given.key_name:
                return ""
            try:
                return keypairs.get(connection, server.user_id, given.key_name).public_key
            except errors.NotFound as error:
                raise errors.InvalidArgument.of(error.message, error.reason, error.facts) from None

        return self._db.read(read)

    def _check_volume_rebuild(
        self, request: pb.RebuildServerRequest, server: Server, volume: BlockDevice, image: ImageSnapshot
    ) -> bool:
        """Whether the volume was made of another image."""
        if request.server.trusted_image_certificates:
            raise errors.InvalidArgument(
                "Trusted image certificates are not for servers that boot from a volume.",
                reason="CERTIFICATES_INVALID",
                cause="volume_backed",
            )
        made_of = self._volumes.get(volume.volume_id).image_properties.get("image_id", "")
        if made_of != image.id and not request.allow_volume_backed:
            raise errors.InvalidArgument(
                f"Server {server.id} boots from a volume: it cannot be rebuilt of another image.",
                reason="REBUILD_UNSUPPORTED",
                server_id=server.id,
                image_id=image.id,
            )
        return made_of != image.id

    def _password(self, given: str) -> str:
        return given or generated_password(int(self._conf.password_length))

    def told(self, password: str) -> str:
        """The password as its caller hears of it; empty where passwords are off."""
        return password if self._conf.api.enable_instance_password else ""


def booted_volume(server: Server) -> BlockDevice | None:
    """The volume a server boots from; None for one whose root disk is on its host."""
    if not block_devices.boots_from_volume(server.block_devices):
        return None
    return min(filter(block_devices.booted, server.block_devices), key=lambda device: device.boot_index)


def _check_volume_rescue(server: Server, image: ImageSnapshot, *, allowed: bool) -> None:
    """Its own disks must keep their places, for it is by these that it finds its root disk again."""
    if not allowed:
        raise errors.InvalidArgument(
            f"Server {server.id} boots from a volume: it cannot be rescued.",
            reason="RESCUE_UNSUPPORTED",
            server_id=server.id,
        )
    missing = [name for name in _STABLE if name not in image.properties]
    if missing:
        raise errors.InvalidArgument(
            f"Server {server.id} boots from a volume: the rescue image needs {' and '.join(missing)}.",
            reason="RESCUE_UNSUPPORTED",
            server_id=server.id,
            image_id=image.id,
        )


def _check_topology(server: Server, image: ImageSnapshot) -> None:
    """What the guest holds of its host's CPUs and pages does not change by a rebuild."""
    before = numa.topology(server.flavor, server.image.properties)
    after = numa.topology(server.flavor, image.properties)
    if before != after:
        raise errors.InvalidArgument(
            f"Image {image.id} asks for other NUMA nodes, CPUs or pages than server {server.id} has.",
            reason="NUMA_CHANGED",
            server_id=server.id,
            image_id=image.id,
        )
