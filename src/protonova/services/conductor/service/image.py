"""ServerImageService: images made of servers of this cell, and shelving."""

from __future__ import annotations

from typing import Any

import grpc

from protonova.common.v1.server_pb2 import Server
from protonova.conductor.v1 import server_image_pb2 as pb
from protonova.conductor.v1 import server_image_pb2_grpc
from protonova.services.conductor import actions
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import image as images
from protonova.services.conductor.operations import unshelve
from protonova.services.conductor.service.begin import Beginnings
from protonova.services.runtime import context as contexts
from protonova.services.runtime import errors


class ServerImageServicer(server_image_pb2_grpc.ServerImageServiceServicer):
    def __init__(self, cell: Cell, beginnings: Beginnings) -> None:
        self._cell = cell
        self._begin = beginnings

    def CreateServerImage(
        self, request: pb.CreateServerImageRequest, context: grpc.ServicerContext
    ) -> pb.CreateServerImageResponse:
        server = self._server(request.id)
        image = self._image(server, "snapshot", request.name, request.metadata)
        if server.image.id:
            operation = self._begin.action(actions.CREATE_IMAGE, server.id, {"image": image})
        else:
            payload = {"image": image, "token": request.user_token}
            operation = self._begin.action(actions.CREATE_VOLUME_IMAGE, server.id, payload)
        self._record(operation, image)
        return pb.CreateServerImageResponse(image_id=image["id"])

    def CreateServerBackup(
        self, request: pb.CreateServerBackupRequest, context: grpc.ServicerContext
    ) -> pb.CreateServerBackupResponse:
        server = self._server(request.id)
        if not server.image.id:
            raise errors.InvalidArgument(
                f"Server {server.id} boots from a volume, of which no backup is made this way.",
                reason="SERVER_VOLUME_BACKED",
                server_id=server.id,
            )
        kind = {"backup_type": request.backup_type}
        image = self._image(server, "backup", request.name, {**request.metadata, **kind})
        payload = {"image": image, "rotation": request.rotation, **kind}
        operation = self._begin.action(actions.CREATE_BACKUP, server.id, payload)
        self._record(operation, image)
        return pb.CreateServerBackupResponse(image_id=image["id"])

    def ShelveServer(
        self, request: pb.ShelveServerRequest, context: grpc.ServicerContext
    ) -> pb.ShelveServerResponse:
        server = self._server(request.id)
        payload = {}
        if server.image.id:
            payload["image"] = self._image(server, "snapshot", f"{server.name}-shelved", {})
        self._begin.action(actions.SHELVE, server.id, payload)
        return pb.ShelveServerResponse()

    def OffloadServer(
        self, request: pb.OffloadServerRequest, context: grpc.ServicerContext
    ) -> pb.OffloadServerResponse:
        self._begin.action(actions.OFFLOAD, request.id)
        return pb.OffloadServerResponse()

    def UnshelveServer(
        self, request: pb.UnshelveServerRequest, context: grpc.ServicerContext
    ) -> pb.UnshelveServerResponse:
        zone = request.pinned_availability_zone if request.HasField("pinned_availability_zone") else None
        self._begin.action(
            actions.UNSHELVE,
            request.id,
            alter=lambda server: unshelve.payload(server, request.spec, zone),
        )
        return pb.UnshelveServerResponse()

    def _server(self, server_id: str) -> Server:
        return self._cell.db.read(lambda connection: self._cell.servers.get(connection, server_id))

    def _image(self, server: Server, image_type: str, name: str, properties: Any) -> dict[str, Any]:
        owner = contexts.current().project_id or server.project_id
        return images.described(
            self._cell.conf, server, name=name, owner=owner, image_type=image_type, properties=properties
        )

    def _record(self, operation: str, image: dict[str, Any]) -> None:
        """Who is told of an image may look for it at once; the operation makes the same record, but maybe later.
        Raises what the image service answers, which then is the end of the operation too."""
        images.record(self._cell, image)
        if self._begin.turned_back(operation):
            # Its undoing may have come before the record.
            self._cell.outside.images.delete(image["id"])
