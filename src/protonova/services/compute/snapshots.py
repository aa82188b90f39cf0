"""The GuestImageService: root disks are copied by the driver and sent to the image service from here.

A copy is a file of the host until its upload is over, so that an upload can be tried again, by whichever agent
process the host has by then.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import grpc

from protonova.compute.v1 import guest_image_pb2 as pb
from protonova.compute.v1 import guest_image_pb2_grpc
from protonova.services.compute.hosts import Hosts
from protonova.services.compute.journal import Journal
from protonova.services.compute.steps import translated
from protonova.services.compute.virt.driver import Driver, SnapshotFile
from protonova.services.runtime import context as contexts
from protonova.services.runtime import errors
from protonova.services.runtime.openstack.image import Image

# Between two signs of life of a long call.
_SECONDS = 1.0


class ImageStore(Protocol):
    """What is asked of the image service."""

    def get(self, image_id: str) -> Image: ...
    def change(self, image_id: str, properties: dict[str, str]) -> None: ...
    def upload(self, image_id: str, data: Any) -> None: ...


class GuestImageServicer(guest_image_pb2_grpc.GuestImageServiceServicer):
    """See protos/protonova/compute/v1/guest_image.proto."""

    def __init__(self, hosts: Hosts, journal: Journal, images: ImageStore) -> None:
        self._hosts = hosts
        self._journal = journal
        self._images = images

    def SnapshotGuest(
        self, request: pb.SnapshotGuestRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.SnapshotGuestResponse]:
        driver = self._driver(request)

        def wanted() -> bool:
            return bool(context.is_active()) and self._journal.still_held(request.fence)

        def copy() -> None:
            with translated(request.server_id):
                driver.snapshot(request.server_id, request.image_id, lambda: not wanted())

        for _ in _working(copy):
            yield pb.SnapshotGuestResponse()
        yield pb.SnapshotGuestResponse(progress=100)

    def UploadSnapshot(
        self, request: pb.UploadSnapshotRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.UploadSnapshotResponse]:
        driver = self._driver(request)
        for _ in _working(lambda: self._upload(driver, request.server_id, request.image_id)):
            yield pb.UploadSnapshotResponse()
        yield pb.UploadSnapshotResponse(progress=100)

    def DropSnapshot(
        self, request: pb.DropSnapshotRequest, context: grpc.ServicerContext
    ) -> pb.DropSnapshotResponse:
        driver = self._driver(request)
        with translated(request.server_id):
            driver.drop_snapshot(request.server_id, request.image_id)
        return pb.DropSnapshotResponse()

    def _driver(self, request: Any) -> Driver:
        """Lets the call in. What a step did is seen from what is there, so its outcome need not be recorded."""
        driver = self._hosts.get(request.host).driver
        self._journal.admit(request.server_id, request.fence)
        return driver

    def _upload(self, driver: Driver, server_id: str, image_id: str) -> None:
        image = self._images.get(image_id)
        if image.status in ("saving", "importing"):
            raise errors.Unavailable(
                f"Image {image_id} is being written by an earlier try.",
                reason="IMAGE_UNAVAILABLE",
                image_id=image_id,
            )
        if image.status == "queued":
            with translated(server_id):
                copy = driver.open_snapshot(server_id, image_id)
            with copy.file:
                self._send(image_id, copy)
        elif image.status != "active":
            raise errors.FailedPrecondition(
                f"Image {image_id} takes no bytes any more; its status is {image.status}.",
                reason="IMAGE_UNUSABLE",
                image_id=image_id,
                status=image.status,
            )
        with translated(server_id):
            driver.drop_snapshot(server_id, image_id)

    def _send(self, image_id: str, copy: SnapshotFile) -> None:
        self._images.change(image_id, {"disk_format": copy.disk_format, "container_format": "bare"})
        self._images.upload(image_id, copy.file)


def _working(work: Callable[[], None]) -> Iterator[None]:
    """Does the work in a thread of its own, and yields every now and then until it is over: a caller that has gone
    is noticed by the server then. Raises what the work raises."""
    ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    ctx = contexts.current()

    def run() -> None:
        try:
            with contexts.use(ctx):
                work()
        except Exception as error:  # noqa: BLE001 - handed over to the thread that answers the call
            ended.put(error)
        else:
            ended.put(None)

    threading.Thread(target=run, name="snapshot", daemon=True).start()
    while True:
        try:
            outcome = ended.get(timeout=_SECONDS)
        except queue.Empty:
            yield
            continue
        if outcome is not None:
            raise outcome
        return
