"""Lists of servers over all cells, in one order.

Build requests are read first, then every cell at once: a server on its way between the two may show up twice, which
is noticed, but never in neither; the same holds for one that is switched from a cell to another. With one cell and
nothing being built the cell's answer is passed on as it came.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Sequence

from protonova.api.v1 import server_pb2 as pb
from protonova.common.v1.server_pb2 import Server
from protonova.conductor.v1 import server_pb2 as conductor_pb
from protonova.services.api import builds, matching, ordering, portions, wire
from protonova.services.api.cells import Cells
from protonova.services.api.conductors import unavailable
from protonova.services.api.fan_out import FanOut
from protonova.services.api.mappings import Mappings, last_switch
from protonova.services.api.partial import Partial
from protonova.services.runtime import errors
from protonova.services.runtime.config import Conf
from protonova.services.runtime.database import Database

# A list that servers are switched during is read so many times at most.
_TRIES = 5


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
        silent: list[str] = []
        tries, switched = 0, self._last_switch()
        while True:
            try:
                found = self._merged(request, question, key, building, silent)
            except portions.BrokenOffError as broken:
                silent.append(broken.cell_id)
                continue
            # A server that was switched from one cell to another meanwhile might have been seen in neither.
            before, switched = switched, self._last_switch()
            tries += 1
            if switched == before or tries == _TRIES:
                return found

    def _last_switch(self) -> int:
        """When a server was switched from one cell to another; of no interest where there is one."""
        return self._db.read(last_switch) if len(self._cells.all()) > 1 else 0

    def _merged(
        self,
        request: pb.ListServersRequest,
        question: conductor_pb.ListServersRequest,
        key: ordering.Key,
        building: list[Server],
        silent: Sequence[str],
    ) -> bytes:
        """Of all cells but those that are known to be silent. Raises BrokenOffError."""
        conductors = {
            conductor.cell_id: conductor
            for conductor in self._cells.conductors()
            if conductor.cell_id not in silent
        }
        first = conductor_pb.ListServersRequest()
        first.CopyFrom(question)
        if not building:
            first.page_size = portions.size_of(question.page_size, len(conductors))
        answers = self._fan_out.ask(
            list(conductors.values()), lambda conductor: conductor.list_raw(first, self._timeout)
        )
        missing = [*silent, *answers.missing]
        if missing and not self._skips:
            raise unavailable(missing[0])
        partial: list[Server] = []
        if missing and request.allow_partial:
            after = question.after if question.HasField("after") else None
            partial = self._silent(request, missing, key, after)
        pages = list(answers.by_cell.values())
        if len(pages) == 1 and not partial and first.page_size == question.page_size:
            joined = wire.join(building, pages[0], request.page_size, key) if building else pages[0]
            if joined is not None:
                return joined + _missing(missing)
        found = {cell_id: _parsed(page) for cell_id, page in answers.by_cell.items()}
        # What a cell says of a server is newer than its build request.
        placed = {server.id for servers in found.values() for server in servers} if building else set()
        merged = pb.ListServersResponse(missing_cell_ids=missing)
        sources = (
            (server for server in building if server.id not in placed),
            *portions.of_cells(
                found,
                first.page_size,
                question,
                lambda cell_id, onward: _parsed(conductors[cell_id].list_raw(onward, self._timeout)),
            ),
            partial,
        )
        merged.servers.extend(itertools.islice(_each_once(heapq.merge(*sources, key=key)), request.page_size))
        return merged.SerializeToString()

    def _marker(self, request: pb.ListServersRequest) -> Server:
        """The server the page before ended with, wherever it is now."""
        marker = request.page_token
        try:
            place = self._mappings.locate(marker)
            if place.building is not None:
                return place.building
            wanted = request.filter
            include = wanted.deleted or wanted.HasField("changed_since") or wanted.HasField("changed_before")
            question = conductor_pb.GetServerRequest(id=marker, include_deleted=include)

            def ask(cell_id: str) -> conductor_pb.GetServerResponse:
                conductor = self._cells.conductor(cell_id)
                answer: conductor_pb.GetServerResponse = conductor.call(conductor.servers.GetServer, question)
                return answer

            return self._mappings.at(place, ask).server
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


def _each_once(servers: Iterable[Server]) -> Iterator[Server]:
    seen: set[str] = set()
    for server in servers:
        if server.id not in seen:
            seen.add(server.id)
            yield server


def _parsed(page: bytes) -> Sequence[Server]:
    return conductor_pb.ListServersResponse.FromString(page).servers


def _missing(cell_ids: Sequence[str]) -> bytes:
    """To be put after a serialized list: fields of a message may follow one another in any order."""
    return pb.ListServersResponse(missing_cell_ids=cell_ids).SerializeToString() if cell_ids else b""
