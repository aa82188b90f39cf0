"""The operation `prefetch_images`: images are fetched to hosts of this cell ahead of their first use.

All of a cell's are one line, so that however many are asked for, one worker sees to them and servers do not wait.
Within one, `image_cache.precache_concurrency` hosts fetch at the same time. A host that is down or cannot take an
image is passed over: its first server from that image fetches it. A host that has an image says so at once, which
makes the whole repeatable.
"""

from __future__ import annotations

import base64
import contextvars
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import exc
from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import ImageSnapshot
from protonova.compute.v1 import image_pb2
from protonova.conductor.v1 import host_pb2
from protonova.services.conductor.cell import Cell
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Engine, Kind, Run, Step

KIND = "prefetch_images"
_LINE = "images"
_LOG = logging.getLogger("protonova.conductor")


class Prefetch(Step):
    name = "prefetch"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=float(cell.conf.conductor.cleanup_timeout))
        self._cell = cell
        self._patience = float(cell.conf.conductor.spawn_timeout)

    def do(self, run: Run) -> None:
        images = [ImageSnapshot.FromString(base64.b64decode(image)) for image in run.payload["images"]]
        hosts: list[str] = run.payload["hosts"]
        with ThreadPoolExecutor(int(self._cell.conf.image_cache.precache_concurrency)) as pool:
            work = [
                pool.submit(contextvars.copy_context().run, self._fetch, run, host, images) for host in hosts
            ]
            for each in work:
                each.result()

    def _fetch(self, run: Run, name: str, images: Sequence[ImageSnapshot]) -> None:
        """Raises what `run.check` does: the operation is to be left."""
        for image in images:
            run.check()
            host = self._cell.host(name)
            if host is None or not host.up or not host.agent_target:
                _LOG.warning("Host %s is down: images are not fetched to it", name)
                return
            agent = self._cell.outside.agents.images(host.agent_target)
            try:
                agent.PrefetchImage(
                    image_pb2.PrefetchImageRequest(host=name, image=image), timeout=self._patience
                )
            except errors.Error as error:
                _LOG.warning("Image %s is not fetched to host %s: %s", image.id, name, error)


class PrefetchImages(Kind):
    name = KIND

    def __init__(self, cell: Cell) -> None:
        self.deadline_seconds = float(cell.conf.conductor.cleanup_timeout)
        self.steps = [Prefetch(cell)]


def begin(cell: Cell, engine: Engine, request: host_pb2.PrefetchImagesRequest) -> None:
    """Writes the operation, under the id the caller chose; one that is there already is this one."""
    payload = {
        "hosts": list(request.hosts),
        "images": [base64.b64encode(image.SerializeToString()).decode() for image in request.images],
    }

    def write(connection: Connection) -> None:
        engine.create(connection, KIND, _LINE, payload, operation_id=request.id)

    try:
        engine.get(request.id)
    except errors.NotFound:
        try:
            cell.db.write(write)
        except exc.IntegrityError:
            return
        engine.run(request.id)
