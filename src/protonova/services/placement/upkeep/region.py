"""The cloud as its owners tell it: api and the conductors of all cells, asked over gRPC.

Who is not heard is never taken for gone: a cell that does not answer is named, and nothing is concluded of its
servers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from protonova.api.v1 import cell_pb2, cell_pb2_grpc
from protonova.api.v1 import server_pb2 as api_pb2
from protonova.api.v1 import server_pb2_grpc as api_pb2_grpc
from protonova.common.v1 import operation_pb2, operation_pb2_grpc, server_pb2, server_query_pb2
from protonova.conductor.v1 import host_pb2, host_pb2_grpc
from protonova.conductor.v1 import server_pb2 as conductor_pb2
from protonova.conductor.v1 import server_pb2_grpc as conductor_pb2_grpc
from protonova.services.runtime import channel, errors
from protonova.services.runtime.config import Conf

_PAGE = 500
# States in which a server has a guest on its host, and so an allocation there.
_ON_ITS_HOST = frozenset(
    {
        server_pb2.VM_STATE_ACTIVE,
        server_pb2.VM_STATE_STOPPED,
        server_pb2.VM_STATE_PAUSED,
        server_pb2.VM_STATE_SUSPENDED,
        server_pb2.VM_STATE_RESCUED,
        server_pb2.VM_STATE_SHELVED,
        server_pb2.VM_STATE_SOFT_DELETED,
    }
)
_UNFINISHED = (
    operation_pb2.OPERATION_STATE_PENDING,
    operation_pb2.OPERATION_STATE_RUNNING,
    operation_pb2.OPERATION_STATE_UNDOING,
    operation_pb2.OPERATION_STATE_STUCK,
)


@dataclass(frozen=True, slots=True)
class Placed:
    """A server in a cell. `node_id` is that of its host, empty where it has none; `settled` = it has a guest there,
    and nothing is being done to it."""

    id: str
    cell_id: str
    host: str = ""
    node_id: str = ""
    settled: bool = False


@dataclass(slots=True)
class Census:
    """What there was when it was taken. `nodes` are cells by node id; `silent` cells (names) did not answer."""

    cells: dict[str, str] = field(default_factory=dict)
    servers: dict[str, Placed] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)


class Cell:
    """The conductors of one cell."""

    def __init__(self, conf: Conf, cell: cell_pb2.Cell) -> None:
        self.id, self.name = cell.id, cell.name
        self._channel = channel.connect(conf, cell.conductor_target)
        self._servers = conductor_pb2_grpc.ServerServiceStub(self._channel)
        self._hosts = host_pb2_grpc.HostServiceStub(self._channel)
        self._operations = operation_pb2_grpc.OperationServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def nodes(self) -> dict[str, str]:
        """Node ids by host."""
        found = self._hosts.ListHypervisors(host_pb2.ListHypervisorsRequest()).hypervisors
        return {hypervisor.service.host: hypervisor.id for hypervisor in found}

    def servers(self) -> Iterator[server_pb2.Server]:
        """All that are not deleted."""
        request = conductor_pb2.ListServersRequest(
            filter=_living(), page_size=_PAGE, view=server_query_pb2.SERVER_VIEW_FULL
        )
        while page := self._servers.ListServers(request).servers:
            yield from page
            request.after.CopyFrom(page[-1])

    def server(self, server_id: str) -> server_pb2.Server | None:
        """None where the cell has none of this id that is not deleted."""
        request = conductor_pb2.ListServersRequest(
            filter=_living(server_id), page_size=1, view=server_query_pb2.SERVER_VIEW_FULL
        )
        return next(iter(self._servers.ListServers(request).servers), None)

    def busy(self, server_id: str) -> bool:
        return _busy(self._operations, server_id)


class Region:
    """The way to api and to every cell. All raise `errors.Error` where somebody does not answer as expected."""

    def __init__(self, conf: Conf) -> None:
        self._conf = conf
        self._channel = channel.connect(conf, conf.api.target)
        self._cell_service = cell_pb2_grpc.CellServiceStub(self._channel)
        self._servers = api_pb2_grpc.ServerServiceStub(self._channel)
        self._operations = operation_pb2_grpc.OperationServiceStub(self._channel)
        self._cells: Mapping[str, Cell] = {}

    def close(self) -> None:
        for cell in self._cells.values():
            cell.close()
        self._channel.close()

    def census(self) -> Census:
        """Raises only where api does not answer."""
        listed = self._cell_service.ListCells(cell_pb2.ListCellsRequest()).cells
        self._cells = {cell.id: Cell(self._conf, cell) for cell in listed}
        census = Census(cells={cell.id: cell.name for cell in listed})
        for cell in self._cells.values():
            try:
                _count(cell, census)
            except errors.Error:
                census.silent.append(cell.name)
        return census

    def has_nothing_of(self, server_id: str) -> bool:
        """True only if api and every cell say that there is no such server, and nothing is being done for one."""
        if _busy(self._operations, server_id) or any(cell.busy(server_id) for cell in self._cells.values()):
            return False
        try:
            self._servers.GetServer(api_pb2.GetServerRequest(id=server_id, allow_partial=True))
        except errors.NotFound:
            return all(cell.server(server_id) is None for cell in self._cells.values())
        return False

    def still(self, placed: Placed) -> server_pb2.Server | None:
        """The server, if it stands where it stood and nothing is being done to it."""
        cell = self._cells[placed.cell_id]
        server = cell.server(placed.id)
        if server is None or server.host != placed.host or not _settled(server):
            return None
        return None if cell.busy(placed.id) or _busy(self._operations, placed.id) else server


def _count(cell: Cell, census: Census) -> None:
    nodes = cell.nodes()
    found = [
        Placed(server.id, cell.id, server.host, nodes.get(server.host, ""), _settled(server))
        for server in cell.servers()
    ]
    census.servers.update((placed.id, placed) for placed in found)
    census.nodes.update((node_id, cell.id) for node_id in nodes.values())


def _settled(server: server_pb2.Server) -> bool:
    return bool(
        server.host
        and server.vm_state in _ON_ITS_HOST
        and server.task_state == server_pb2.TASK_STATE_UNSPECIFIED
    )


def _living(*server_ids: str) -> server_query_pb2.ServerFilter:
    """Those that can be restored are living too."""
    return server_query_pb2.ServerFilter(server_ids=server_ids, deleted=False, soft_deleted=True)


def _busy(operations: operation_pb2_grpc.OperationServiceStub, subject: str) -> bool:
    request = operation_pb2.ListOperationsRequest(states=_UNFINISHED, subject=subject, page_size=1)
    return bool(operations.ListOperations(request).operations)
