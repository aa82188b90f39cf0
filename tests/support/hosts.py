"""Cells and their hosts, told by small real gRPC servers with their state in memory."""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from protonova.api.v1 import aggregate_pb2, aggregate_pb2_grpc, cell_pb2, cell_pb2_grpc
from protonova.conductor.v1 import host_pb2, host_pb2_grpc


class Topic:
    """Values by key, told to watchers: all of them, then each change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, Any] = {}
        self._revision = 0
        self._watchers: list[queue.Queue[tuple[int, str, Any]]] = []
        self.gone = threading.Event()

    def put(self, key: str, value: Any) -> None:
        with self._lock:
            self._values[key] = value
            self._tell(key, value)

    def drop(self, key: str) -> None:
        with self._lock:
            del self._values[key]
            self._tell(key, None)

    def get(self, key: str) -> Any:
        return self._values[key]

    def keys(self) -> list[str]:
        return list(self._values)

    def watch(self, alive: Callable[[], bool]) -> Iterator[tuple[int, str, Any]]:
        """Revision, key, value; an empty key ends the snapshot."""
        events: queue.Queue[tuple[int, str, Any]] = queue.Queue()
        with self._lock:
            for key, value in self._values.items():
                events.put((0, key, value))
            events.put((self._revision or 1, "", None))
            self._watchers.append(events)
        while alive() and not self.gone.is_set():
            try:
                yield events.get(timeout=0.05)
            except queue.Empty:
                continue

    def _tell(self, key: str, value: Any) -> None:
        self._revision += 1
        for watcher in self._watchers:
            watcher.put((self._revision, key, value))


class Cells(cell_pb2_grpc.CellServiceServicer):
    """The api's cell service."""

    def __init__(self) -> None:
        self.topic = Topic()

    def put(self, cell_id: str, target: str, *, disabled: bool = False) -> None:
        self.topic.put(
            cell_id,
            cell_pb2.Cell(id=cell_id, name=cell_id, conductor_target=target, disabled=disabled),
        )

    def WatchCells(self, request, context):
        for revision, key, value in self.topic.watch(context.is_active):
            if not key:
                yield cell_pb2.WatchCellsResponse(snapshot_end=True, revision=revision)
            elif value is None:
                yield cell_pb2.WatchCellsResponse(deleted_cell_id=key, revision=revision)
            else:
                yield cell_pb2.WatchCellsResponse(cell=value, revision=revision)


class Aggregates(aggregate_pb2_grpc.AggregateServiceServicer):
    """The api's aggregates. Nothing is told of them while `told` is cleared."""

    def __init__(self) -> None:
        self.topic = Topic()
        self.told = threading.Event()
        self.told.set()

    def put(self, name: str, hosts: Iterable[str] = (), aggregate_id: str = "", **metadata: str) -> str:
        """Answers the id, which is made from the name where none is given."""
        aggregate_id = aggregate_id or str(uuid.uuid5(uuid.NAMESPACE_OID, name))
        self.topic.put(
            aggregate_id,
            aggregate_pb2.Aggregate(id=aggregate_id, name=name, hosts=sorted(hosts), metadata=metadata),
        )
        return aggregate_id

    def WatchAggregates(self, request, context):
        assert self.told.wait(10)
        for revision, key, value in self.topic.watch(context.is_active):
            if not key:
                yield aggregate_pb2.WatchAggregatesResponse(snapshot_end=True, revision=revision)
            elif value is None:
                yield aggregate_pb2.WatchAggregatesResponse(deleted_aggregate_id=key, revision=revision)
            else:
                yield aggregate_pb2.WatchAggregatesResponse(aggregate=value, revision=revision)


class Hosts(host_pb2_grpc.HostServiceServicer):
    """A conductor's host service."""

    def __init__(self, cell_id: str) -> None:
        self.cell_id = cell_id
        self.topic = Topic()

    def put(self, node_id: str, host: str, **fields: Any) -> None:
        fields.setdefault("up", True)
        fields.setdefault("node", host)
        fields.setdefault("availability_zone", "nova")
        state = host_pb2.HostState(host=host, node_id=node_id, cell_id=self.cell_id, **fields)
        self.topic.put(node_id, state)

    def load(self, node_id: str, **fields: Any) -> None:
        """What runs on a host."""
        self.topic.put(f"load {node_id}", host_pb2.HostLoad(node_id=node_id, **fields))

    def change(self, node_id: str, **fields: Any) -> None:
        state = host_pb2.HostState()
        state.CopyFrom(self.topic.get(node_id))
        for name, value in fields.items():
            setattr(state, name, value)
        self.topic.put(node_id, state)

    def WatchHosts(self, request, context):
        for revision, key, value in self.topic.watch(context.is_active):
            if not key:
                yield host_pb2.WatchHostsResponse(snapshot_end=True, revision=revision)
            elif isinstance(value, host_pb2.HostLoad):
                yield host_pb2.WatchHostsResponse(load=value)
            elif value is None:
                yield host_pb2.WatchHostsResponse(deleted_node_id=key, revision=revision)
            else:
                yield host_pb2.WatchHostsResponse(host=value, revision=revision)
