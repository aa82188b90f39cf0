"""The api service's images of servers, as the gateway sees them."""

from __future__ import annotations

import uuid
from typing import Any

from protonova.api.v1 import server_image_pb2 as pb
from protonova.api.v1 import server_image_pb2_grpc


class ServerImages(server_image_pb2_grpc.ServerImageServiceServicer):
    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.image_id = str(uuid.uuid4())

    def _noted(self, request: Any, answer: Any) -> Any:
        self.asked.append(request)
        return answer

    def CreateServerImage(self, request, context):
        return self._noted(request, pb.CreateServerImageResponse(image_id=self.image_id))

    def CreateServerBackup(self, request, context):
        return self._noted(request, pb.CreateServerBackupResponse(image_id=self.image_id))

    def ShelveServer(self, request, context):
        return self._noted(request, pb.ShelveServerResponse())

    def OffloadServer(self, request, context):
        return self._noted(request, pb.OffloadServerResponse())

    def UnshelveServer(self, request, context):
        return self._noted(request, pb.UnshelveServerResponse())
