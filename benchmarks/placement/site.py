"""Placement processes on one database, started and stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from benchmarks.client import Client
from benchmarks.cloud import databases, process_pss_mib
from protonova.cli.launch import ENVIRONMENT
from protonova.placement.v1 import allocation_pb2_grpc, resource_provider_pb2_grpc
from protonova.services.runtime import channel, config
from protonova.services.runtime.process import READY_FD

_SERVICE = "import sys; from protonova.services.placement.main import main; sys.exit(main(sys.argv[1:]))"
_START_SECONDS = 120
_ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Process:
    """One that has said it is ready; `seconds` is how long that took."""

    running: subprocess.Popen[bytes]
    address: str
    seconds: float

    @property
    def pss_mib(self) -> float:
        return process_pss_mib(self.running.pid)

    def end(self) -> None:
        self.running.terminate()
        self.running.wait(30)


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
        self._directory = directory

    @contextmanager
    def replica(self) -> Iterator[Replica]:
        settings = {"OS_PLACEMENT__LISTEN": "127.0.0.1:0", "OS_PLACEMENT_DATABASE__CONNECTION": self.url}
        replica = Replica(self._start("placement", ["-c", _SERVICE], settings))
        try:
            yield replica
        finally:
            replica.end()

    @contextmanager
    def face(self, replica: Replica) -> Iterator[Client]:
        """The Placement API over a replica, and a client of it."""
        settings = {"OS_PLACEMENT__TARGET": replica.process.address}
        process = self._start("gateway", ["-m", "benchmarks.placement.face"], settings)
        host, _, port = process.address.rpartition(":")
        try:
            yield Client((host, int(port)), "anything")
        finally:
            process.end()

    def _start(self, name: str, words: list[str], settings: dict[str, str]) -> Process:
        reader, writer = os.pipe()
        paths = [str(_ROOT), str(_ROOT / "src"), os.environ.get("PYTHONPATH", "")]
        environment: dict[str, Any] = {
            **os.environ,
            **ENVIRONMENT,
            **settings,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            READY_FD: str(writer),
        }
        began = time.monotonic()
        with open(self._directory / f"{name}.log", "ab") as log:
            running = subprocess.Popen(
                [sys.executable, *words], env=environment, stdout=log, stderr=log, pass_fds=[writer]
            )
        os.close(writer)
        with os.fdopen(reader) as pipe:
            line = pipe.readline()
        if not line:
            running.wait(_START_SECONDS)
            raise RuntimeError(
                f"{name} did not start:\n{(self._directory / f'{name}.log').read_text()[-3000:]}"
            )
        return Process(running, json.loads(line)["address"], time.monotonic() - began)


@contextmanager
def site(database: str) -> Iterator[PlacementSite]:
    """On a new database of this kind, in a directory of its own."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="protonova-bench-")))
        urls = stack.enter_context(databases(database))
        yield PlacementSite(
            directory, urls.get("placement_database", f"sqlite:///{directory}/placement.sqlite")
        )
