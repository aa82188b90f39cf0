"""The operation `cache_images`: has the images of a request fetched to the hosts of an aggregate.

It tells each cell which hosts and images are meant, under its own id, so that a repeat is no second fetch. The
conductors of the cells see to the rest. A cell that does not answer is told as long as the step lasts, after
the others were.
"""

from __future__ import annotations

import base64

from protonova.common.v1.server_pb2 import ImageSnapshot
from protonova.conductor.v1 import host_pb2
from protonova.services.api.aggregates.store import chunks
from protonova.services.api.cells import Cells
from protonova.services.api.conductors import unavailable
from protonova.services.api.hosts import HostDirectory
from protonova.services.runtime import errors
from protonova.services.runtime.config import Conf
from protonova.services.runtime.operations import Kind, Outcome, Run, Step

CACHE = "cache_images"


def subject(aggregate_id: str) -> str:
    """Not the aggregate's own line: its mirror does not wait for images."""
    return f"images:{aggregate_id}"


class Tell(Step):
    name = "tell"

    def __init__(self, cells: Cells, hosts: HostDirectory, conf: Conf) -> None:
        super().__init__()
        self._cells = cells
        self._directory = hosts
        self._patience = float(conf.api.cell_timeout)
        self.timeout = float(conf.api.build_timeout)

    def do(self, run: Run) -> Outcome | None:
        images = [ImageSnapshot.FromString(base64.b64decode(image)) for image in run.payload["images"]]
        silent: set[str] = set()
        by_cell: dict[str, list[str]] = {}
        for some in chunks(run.payload["hosts"]):
            nodes = self._directory.nodes(some)
            silent.update(nodes.silent.values())
            for host, node in nodes.by_host.items():
                by_cell.setdefault(node.service.cell_id, []).append(host)
        for cell_id, hosts in sorted(by_cell.items()):
            run.check()
            conductor = self._cells.conductor(cell_id)
            request = host_pb2.PrefetchImagesRequest(id=run.id, hosts=sorted(hosts), images=images)
            try:
                conductor.call(conductor.hosts.PrefetchImages, request, self._patience)
            except errors.Unavailable:
                silent.add(cell_id)
        if silent:
            raise unavailable(min(silent))
        return None


class CacheImages(Kind):
    name = CACHE

    def __init__(self, cells: Cells, hosts: HostDirectory, conf: Conf) -> None:
        self.deadline_seconds = float(conf.api.build_timeout) * 10
        self.steps = [Tell(cells, hosts, conf)]
