"""Placement processes on one database, started and stopped."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc

from benchmarks.client import Client
from benchmarks.cloud import databases
from benchmarks.processes import Process, service, start
from protonova.placement.v1 import allocation_pb2_grpc, resource_provider_pb2_grpc
from protonova.services.runtime import channel, config


class Replica:
    """A placement service, and stubs to call it by."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._channel: grpc.Channel = channel.connect(config.load(files=[]), process.address)
        self.allocations = allocation_pb2_grpc.AllocationServiceStub(self._channel)
        self.providers = resource_provider_pb2_grpc.ResourceProviderServiceStub(self._channel)

    def end(self) -> None:
        self._channel.close()
        self.process.end()


class PlacementSite:
    """`url` is the database's."""

    def __init__(self, directory: Path, url: str) -> None:
        self.url = url
        self.directory = directory

    @contextmanager
    def replica(self) -> Iterator[Replica]:
        settings = {"OS_PLACEMENT__LISTEN": "127.0.0.1:0", "OS_PLACEMENT_DATABASE__CONNECTION": self.url}
        replica = Replica(start(self.directory, "placement", service("placement"), settings))
        try:
            yield replica
        finally:
            replica.end()

    @contextmanager
    def face(self, replica: Replica) -> Iterator[Client]:
        """The Placement API over a replica, and a client of it."""
        settings = {"OS_PLACEMENT__TARGET": replica.process.address}
        process = start(self.directory, "gateway", ["-m", "benchmarks.placement.face"], settings)
        host, _, port = process.address.rpartition(":")
        try:
            yield Client((host, int(port)), "anything")
        finally:
            process.end()


@contextmanager
def site(database: str) -> Iterator[PlacementSite]:
    """On a new database of this kind, in a directory of its own."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="protonova-bench-")))
        urls = stack.enter_context(databases(database))
        yield PlacementSite(
            directory, urls.get("placement_database", f"sqlite:///{directory}/placement.sqlite")
        )
