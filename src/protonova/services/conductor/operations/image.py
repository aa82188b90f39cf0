"""The steps that make an image of a server's root disk: its record, a copy on the host, the upload.

The image has its id before anything is done, so that each step can be repeated, and so that whoever asked can be
told. What belongs to the record is in the operation's payload under "image".
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from oslo_config import cfg
from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import Server, TaskState
from protonova.compute.v1 import guest_image_pb2
from protonova.compute.v1.guest_image_pb2_grpc import GuestImageServiceStub
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.hosts.record import Host
from protonova.services.conductor.operations import agent
from protonova.services.runtime import context, errors
from protonova.services.runtime.operations import Kind, Outcome, Run, Step

# What the image service says of an image by itself, or what only the image was that the server came from.
_NEVER_INHERITED = frozenset(
    {"image_type", "backup_type", "base_image_ref", "instance_uuid", "block_device_mapping"}
)
DISCARD = "discard_image"


def described(
    conf: cfg.ConfigOpts,
    server: Server,
    *,
    name: str,
    owner: str,
    image_type: str,
    properties: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The record of an image to be made of a server: the same one, however often its request is heard. It inherits
    the properties of the image the server came from; `properties` come over them."""
    left_out = _NEVER_INHERITED | set(conf.non_inheritable_image_properties)
    inherited = {key: value for key, value in server.image.properties.items() if key not in left_out}
    return {
        "id": _id(server),
        "name": name,
        "owner": owner,
        "min_disk_gb": max(server.image.min_disk_gb, server.flavor.root_gb),
        "min_memory_mb": server.image.min_memory_mb,
        "properties": {
            **inherited,
            "image_type": image_type,
            "instance_uuid": server.id,
            "user_id": server.user_id,
            "base_image_ref": server.image.id,
            **(properties or {}),
        },
    }


def _id(server: Server) -> str:
    request_id = context.current().request_id
    return str(uuid.uuid5(uuid.UUID(server.id), request_id) if request_id else uuid.uuid4())


def record(cell: Cell, image: Mapping[str, Any]) -> None:
    """Makes the record, if it is not there."""
    cell.outside.images.create(
        image_id=image["id"],
        name=image["name"],
        owner=image["owner"],
        properties=image["properties"],
        min_disk_gb=image["min_disk_gb"],
        min_memory_mb=image["min_memory_mb"],
    )


class Record(Step):
    """The record of the image; nothing of it is left when the operation turns back."""

    name = "image_record"

    def __init__(self, cell: Cell, following: TaskState.ValueType) -> None:
        """`following`: the task state from then on."""
        super().__init__(timeout=60.0, undo_timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell
        self._following = following

    def needed(self, run: Run) -> bool:
        return bool(run.payload.get("image"))

    def do(self, run: Run) -> Outcome:
        record(self._cell, run.payload["image"])
        return Outcome(apply=_going_on(self._cell, run, self._following))

    def undo(self, run: Run) -> None:
        if self.needed(run):
            self._cell.outside.images.delete(run.payload["image"]["id"])


class Copy(Step):
    """A copy of the root disk, on the host."""

    name = "image_snapshot"
    event = "compute_snapshot_instance"

    def __init__(self, cell: Cell, following: TaskState.ValueType) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.snapshot_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell
        self._following = following

    def needed(self, run: Run) -> bool:
        return bool(run.payload.get("image"))

    def do(self, run: Run) -> Outcome:
        server, images = _on_its_host(self._cell, run.subject)
        request = guest_image_pb2.SnapshotGuestRequest(
            host=server.host, fence=agent.fence(run), server_id=server.id, image_id=run.payload["image"]["id"]
        )
        with agent.calling(server.host):
            _follow(run, images.SnapshotGuest(request, timeout=self.timeout))
        return Outcome(apply=_going_on(self._cell, run, self._following), host=server.host)

    def undo(self, run: Run) -> None:
        """What a host that is down has of it goes with the guest."""
        if not self.needed(run):
            return
        server, host = self._cell.db.read(lambda c: _server_and_host(self._cell, c, run.subject))
        if host is None or not host.up:
            return
        request = guest_image_pb2.DropSnapshotRequest(
            host=server.host, fence=agent.fence(run), server_id=server.id, image_id=run.payload["image"]["id"]
        )
        images = self._cell.outside.agents.guest_images(host.agent_target)
        with agent.calling(server.host):
            images.DropSnapshot(request, timeout=self._cell.conf.conductor.guest_timeout)


class Upload(Step):
    """The copy goes to the image service, which makes the image active."""

    name = "image_uploading"
    event = "compute_upload_image"

    def __init__(self, cell: Cell, following: TaskState.ValueType | None = None) -> None:
        """`following`: None = the action's end says what follows."""
        super().__init__(timeout=cell.conf.conductor.snapshot_timeout)
        self._cell = cell
        self._following = following

    def needed(self, run: Run) -> bool:
        return bool(run.payload.get("image"))

    def do(self, run: Run) -> Outcome:
        server, images = _on_its_host(self._cell, run.subject)
        request = guest_image_pb2.UploadSnapshotRequest(
            host=server.host, fence=agent.fence(run), server_id=server.id, image_id=run.payload["image"]["id"]
        )
        with agent.calling(server.host):
            _follow(run, images.UploadSnapshot(request, timeout=self.timeout))
        if self._following is None:
            return Outcome(host=server.host)
        return Outcome(apply=_going_on(self._cell, run, self._following), host=server.host)


class Discard(Step):
    name = "discard"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> None:
        volumes = self._cell.outside.volumes
        for name in run.payload.get("snapshots", ()):
            if (made := volumes.snapshot_named(name)) is not None:
                volumes.delete_snapshot(made.id)
        self._cell.outside.images.delete(run.subject)


class DiscardImage(Kind):
    """Removes an image that nobody needs any more, and the snapshots of volumes with the names given. Its subject
    is the image: it goes on whatever becomes of the server."""

    name = DISCARD

    def __init__(self, cell: Cell) -> None:
        self.deadline_seconds = cell.conf.conductor.cleanup_timeout
        self.steps = [Discard(cell)]


def _going_on(cell: Cell, run: Run, task_state: TaskState.ValueType) -> Any:
    def apply(connection: Connection) -> None:
        def alter(server: Server) -> None:
            server.task_state = task_state

        cell.servers.change(connection, run.subject, alter)

    return apply


def _server_and_host(cell: Cell, connection: Connection, server_id: str) -> tuple[Server, Host | None]:
    server = cell.servers.get(connection, server_id)
    return server, cell.hosts.get(connection, server.host)


def _on_its_host(cell: Cell, server_id: str) -> tuple[Server, GuestImageServiceStub]:
    server, host = cell.db.read(lambda connection: _server_and_host(cell, connection, server_id))
    return server, agent.guest_images_on(cell, host, server.host)


def _follow(run: Run, stream: Any) -> None:
    """Reads a stream of progress to its end; gives it up when the server is to be deleted."""
    with run.interruptible(stream.cancel):
        try:
            for told in stream:
                if told.progress == 100:
                    return
        except errors.Cancelled:
            run.check()
            raise
    raise errors.Unavailable("The agent ended before it was done.", reason="SERVICE_UNREACHABLE")
