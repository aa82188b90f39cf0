"""The ImageService: images are fetched to a host ahead of their first use. What is kept where is the driver's."""

from __future__ import annotations

import grpc

from protonova.compute.v1 import image_pb2, image_pb2_grpc
from protonova.services.compute import spec
from protonova.services.compute.hosts import Hosts
from protonova.services.compute.virt import errors as virt_errors
from protonova.services.runtime import errors


class ImageServicer(image_pb2_grpc.ImageServiceServicer):
    """See protos/protonova/compute/v1/image.proto."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts

    def PrefetchImage(
        self, request: image_pb2.PrefetchImageRequest, context: grpc.ServicerContext
    ) -> image_pb2.PrefetchImageResponse:
        driver = self._hosts.get(request.host).driver
        if not request.image.id:
            raise errors.InvalidArgument(
                "An image needs its id.", reason="IMAGE_UNACCEPTABLE", field="image.id"
            )
        try:
            before = driver.prefetch_image(
                spec.image_source(request.image), cancelled=lambda: not context.is_active()
            )
        except virt_errors.DriverError as error:
            facts = {**error.facts, "image_id": request.image.id, "host": request.host}
            kind = errors.Unavailable if error.transient else errors.FailedPrecondition
            raise kind(error.message, reason=error.reason, **facts) from error
        return image_pb2.PrefetchImageResponse(cached_before=before)
