"""Lists of servers over all cells, in one order.

Build requests are read first, then every cell at once: a server on its way between the two may show up twice, which
is noticed, but never in neither. With one cell and nothing being built the cell's answer is passed on as it came.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

from protonova.api.v1 import server_pb2 as pb
from protonova.common.v1.server_pb2 import Server
from protonova.conductor.v1 import server_pb2 as conductor_pb
from protonova.services.api import builds, matching, ordering, wire
from protonova.services.api.cells import Cells
from protonova.services.api.conductors import unavailable
from protonova.services.api.fan_out import FanOut
from protonova.services.api.mappings import Mappings
from protonova.services.api.partial import Partial
from protonova.services.runtime import errors
from protonova.services.runtime.config import Conf
from protonova.services.runtime.database import Database


class Listing:
    def __init__(self, conf: Conf, db: Database, cells: Cells, mappings: Mappings, fan_out: FanOut) -> None:
        self._db = db
        self._cells = cells
        self._mappings = mappings
        self._fan_out = fan_out
        self._partial = Partial(db)
        self._timeout = float(conf.api.cell_timeout)
        self._skips = bool(conf.api.list_records_by_skipping_down_cells)

    def page(self, request: pb.ListServersRequest) -> bytes:
        """A serialized ListServersResponse. Raises MARKER_NOT_FOUND, FILTER_INVALID."""
        if request.page_size <= 0:
            return b""
        key = ordering.of(request.sort)
        after = self._marker(request) if request.page_token else None
        building = self._building(request, key, after)
        question = conductor_pb.ListServersRequest(
            filter=request.filter,
            sort=request.sort,
            page_size=request.page_size,
            after=after,
            view=request.view,
        )
        answers = self._fan_out.ask(
            self._cells.conductors(), lambda conductor: conductor.list_raw(question, self._timeout)
        )
        if answers.missing and not self._skips:
            raise unavailable(answers.missing[0])
        pages = list(answers.by_cell.values())
        partial: list[Server] = []
        if answers.missing and request.allow_partial:
            partial = self._silent(request, answers.missing, key, after)
        if not building and not partial and len(pages) == 1:
            return pages[0] + _missing(answers.missing)
        if building and not partial and len(pages) == 1:
            joined = wire.join(building, pages[0], request.page_size, key)
            if joined is not None:
                return joined + _missing(answers.missing)
        sources = [
            building,
            *(conductor_pb.ListServersResponse.FromString(page).servers for page in pages),
            partial,
        ]
        merged = pb.ListServersResponse(missing_cell_ids=answers.missing)
        # A server in two sources counts once; what a cell says of it is newer than its build request.
        merged.servers.extend(_first(request.page_size, _merge(sources, key)))
        return merged.SerializeToString()

    def _marker(self, request: pb.ListServersRequest) -> Server:
        """The server the page before ended with, wherever it is now."""
        marker = request.page_token
        try:
            place = self._mappings.locate(marker)
            if place.building is not None:
                return place.building
            conductor = self._cells.conductor(place.cell_id)
            wanted = request.filter
            include = wanted.deleted or wanted.HasField("changed_since") or wanted.HasField("changed_before")
            answer: conductor_pb.GetServerResponse = conductor.call(
                conductor.servers.GetServer, conductor_pb.GetServerRequest(id=marker, include_deleted=include)
            )
            return answer.server
        except errors.NotFound:
            raise errors.InvalidArgument(
                f"Marker {marker} could not be found.", reason="MARKER_NOT_FOUND", marker=marker
            ) from None
        except errors.Unavailable as error:
            if error.reason != "CELL_UNAVAILABLE":
                raise
            return self._partial.get(marker)

    def _building(
        self, request: pb.ListServersRequest, key: ordering.Key, after: Server | None
    ) -> list[Server]:
        admitted = matching.building(request.filter)
        if admitted is None:
            return []
        found = self._db.read(lambda connection: builds.of_project(connection, request.filter.project_id))
        return _ordered((server for server in found if admitted(server)), key, after, request.page_size)

    def _silent(
        self, request: pb.ListServersRequest, cell_ids: Sequence[str], key: ordering.Key, after: Server | None
    ) -> list[Server]:
        """What is known of the servers of cells that do not answer."""
        admitted = matching.partial(request.filter)
        if admitted is None:
            return []
        oldest_first = after if ordering.by_age(request.sort) else None
        found = self._partial.of_cells(cell_ids, request.filter, oldest_first)
        return _ordered((server for server in found if admitted(server)), key, after, request.page_size)


def _ordered(servers: Iterator[Server], key: ordering.Key, after: Server | None, size: int) -> list[Server]:
    if after is not None:
        beyond = key(after)
        servers = (server for server in servers if beyond < key(server))
    return sorted(servers, key=key)[:size]


def _merge(sources: Sequence[Sequence[Server]], key: ordering.Key) -> Iterator[Server]:
    """Each server once. Where two sources hold one, the later source's word is taken."""
    newest = {server.id: index for index, source in enumerate(sources) for server in source}
    kept = [
        [server for server in source if newest[server.id] == index] for index, source in enumerate(sources)
    ]
    return heapq.merge(*kept, key=key)


def _first(size: int, servers: Iterator[Server]) -> Iterator[Server]:
    for _, server in zip(range(size), servers, strict=False):
        yield server


def _missing(cell_ids: Sequence[str]) -> bytes:
    """To be put after a serialized list: fields of a message may follow one another in any order."""
    return pb.ListServersResponse(missing_cell_ids=cell_ids).SerializeToString() if cell_ids else b""
