"""What schedulers follow and call besides placement: cells, aggregates, and the hosts of one conductor, told once
by small servers in this process. Nothing changes afterwards, so that only the schedulers are measured."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc

from benchmarks.processes import service, start
from protonova.api.v1 import aggregate_pb2, aggregate_pb2_grpc, cell_pb2, cell_pb2_grpc
from protonova.conductor.v1 import host_pb2, host_pb2_grpc
from protonova.scheduler.v1 import scheduler_pb2_grpc
from protonova.services.runtime import channel, config
from protonova.services.runtime.server import Server

_CELL = "cell-1"


class Told:
    """Feeds that tell what there is, and then nothing more until they are closed."""

    def __init__(self, conductor: str = "", hosts: Sequence[host_pb2.HostState] = ()) -> None:
        self._conductor = conductor
        self._hosts = hosts
        self._closed = threading.Event()

    def close(self) -> None:
        self._closed.set()

    def WatchCells(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        cell = cell_pb2.Cell(id=_CELL, name=_CELL, conductor_target=self._conductor)
        yield cell_pb2.WatchCellsResponse(cell=cell)
        yield cell_pb2.WatchCellsResponse(snapshot_end=True, revision=1)
        self._hold(context)

    def WatchAggregates(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        yield aggregate_pb2.WatchAggregatesResponse(snapshot_end=True, revision=1)
        self._hold(context)

    def WatchHosts(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        for host in self._hosts:
            yield host_pb2.WatchHostsResponse(host=host)
        yield host_pb2.WatchHostsResponse(snapshot_end=True, revision=1)
        self._hold(context)

    def _hold(self, context: grpc.ServicerContext) -> None:
        while context.is_active() and not self._closed.wait(1):
            pass


class _Cells(Told, cell_pb2_grpc.CellServiceServicer):
    pass


class _Aggregates(Told, aggregate_pb2_grpc.AggregateServiceServicer):
    pass


class _Hosts(Told, host_pb2_grpc.HostServiceServicer):
    pass


class Region:
    """`api` is where cells and aggregates are told."""

    def __init__(self, directory: Path, placement: str, api: str) -> None:
        self._directory = directory
        self._placement = placement
        self._api = api

    @contextmanager
    def scheduler(self, **options: str) -> Iterator[scheduler_pb2_grpc.SchedulerServiceStub]:
        """A replica as a process of its own; `options` are those of its group."""
        settings = {
            "OS_SCHEDULER__LISTEN": "127.0.0.1:0",
            "OS_API__TARGET": self._api,
            "OS_PLACEMENT__TARGET": self._placement,
            **{f"OS_SCHEDULER__{name.upper()}": value for name, value in options.items()},
        }
        process = start(self._directory, "scheduler", service("scheduler"), settings)
        try:
            with channel.connect(config.load(files=[]), process.address) as opened:
                yield scheduler_pb2_grpc.SchedulerServiceStub(opened)
        finally:
            process.end()


@contextmanager
def region(directory: Path, placement: str, hosts: Sequence[host_pb2.HostState]) -> Iterator[Region]:
    with ExitStack() as stack:

        def serve(*added: tuple[Callable[..., Any], Told]) -> str:
            server = Server(config.load(files=[]), "region", "127.0.0.1:0")
            for add, told in added:
                server.add(add, told)
                server.on_stop(told.close)
            server.start()
            stack.callback(server.stop, 0)
            return server.address

        conductor = serve((host_pb2_grpc.add_HostServiceServicer_to_server, _Hosts(hosts=hosts)))
        api = serve(
            (cell_pb2_grpc.add_CellServiceServicer_to_server, _Cells(conductor)),
            (aggregate_pb2_grpc.add_AggregateServiceServicer_to_server, _Aggregates()),
        )
        yield Region(directory, placement, api)
