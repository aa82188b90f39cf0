"""Ways to the conductors of cells: one channel a cell, kept while its target stays the same.

Reads whose answer goes to the caller as it is can be had as bytes: a list of a thousand servers is then neither
parsed nor written again on its way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from protonova.conductor.v1 import (
    host_pb2_grpc,
    migration_pb2_grpc,
    server_pb2,
    server_pb2_grpc,
    usage_pb2_grpc,
)
from protonova.services.runtime import channel, errors
from protonova.services.runtime.config import Conf

_SERVERS = "/protonova.conductor.v1.ServerService"
# What a channel raises of itself, as opposed to what a conductor answered.
_UNREACHED = ("SERVICE_UNREACHABLE", errors.DeadlineExceeded.default_reason)


class Conductor:
    """The conductors of one cell. Its calls raise CELL_UNAVAILABLE when none of them answers."""

    def __init__(self, conf: Conf, cell_id: str, target: str) -> None:
        self.cell_id = cell_id
        self.target = target
        self._channel = channel.connect(conf, target)
        self.servers = server_pb2_grpc.ServerServiceStub(self._channel)
        self.hosts = host_pb2_grpc.HostServiceStub(self._channel)
        self.migrations = migration_pb2_grpc.MigrationServiceStub(self._channel)
        self.usage = usage_pb2_grpc.UsageServiceStub(self._channel)
        self._raw_get: Callable[..., bytes] = self._channel.unary_unary(
            f"{_SERVERS}/GetServer", request_serializer=server_pb2.GetServerRequest.SerializeToString
        )
        self._raw_list: Callable[..., bytes] = self._channel.unary_unary(
            f"{_SERVERS}/ListServers", request_serializer=server_pb2.ListServersRequest.SerializeToString
        )

        self._raw: dict[str, Callable[..., bytes]] = {}

    def call(self, method: Callable[..., Any], request: Any, timeout: float | None = None) -> Any:
        """`conductor.call(conductor.servers.StopServer, request)`."""
        try:
            return method(request, timeout=timeout)
        except (errors.Unavailable, errors.DeadlineExceeded) as error:
            if error.reason in _UNREACHED:
                raise unavailable(self.cell_id) from error
            raise

    def get_raw(self, request: server_pb2.GetServerRequest) -> bytes:
        """A serialized GetServerResponse."""
        answer: bytes = self.call(self._raw_get, request)
        return answer

    def list_raw(self, request: server_pb2.ListServersRequest, timeout: float | None = None) -> bytes:
        """A serialized ListServersResponse."""
        answer: bytes = self.call(self._raw_list, request, timeout)
        return answer

    def raw(self, path: str, request: bytes) -> bytes:
        """The serialized answer of a method, by its path, to a serialized request."""
        method = self._raw.get(path)
        if method is None:
            method = self._raw[path] = self._channel.unary_unary(path)
        answer: bytes = self.call(method, request)
        return answer

    def close(self) -> None:
        self._channel.close()


class Conductors:
    """All conductors this process has called."""

    def __init__(self, conf: Conf) -> None:
        self._conf = conf
        self._lock = threading.Lock()
        self._open: dict[str, Conductor] = {}

    def at(self, cell_id: str, target: str) -> Conductor:
        found = self._open.get(cell_id)
        if found is not None and found.target == target:
            return found
        with self._lock:
            found = self._open.get(cell_id)
            if found is None or found.target != target:
                # The channel to the former target is left to the calls that still use it.
                found = self._open[cell_id] = Conductor(self._conf, cell_id, target)
            return found

    def close(self) -> None:
        with self._lock:
            for conductor in self._open.values():
                conductor.close()
            self._open.clear()


def unavailable(cell_id: str) -> errors.Unavailable:
    return errors.Unavailable(f"Cell {cell_id} does not answer.", reason="CELL_UNAVAILABLE", cell_id=cell_id)
