"""Keeps the host view current: cells and aggregates from api, hosts from each cell's conductor, resources from
placement.

A cell whose conductor has not been heard for a while gets no new servers until it is heard again; so its stream
always begins with a snapshot, whose end tells that it is heard.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from protonova.api.v1 import aggregate_pb2, aggregate_pb2_grpc, cell_pb2, cell_pb2_grpc
from protonova.conductor.v1 import host_pb2, host_pb2_grpc
from protonova.placement.v1 import resource_provider_pb2, resource_provider_pb2_grpc
from protonova.services.runtime import telemetry
from protonova.services.runtime.channel import connect
from protonova.services.runtime.config import Conf
from protonova.services.runtime.feeds import Follower
from protonova.services.scheduler import devices
from protonova.services.scheduler.aggregates import Aggregate
from protonova.services.scheduler.hosts import NONE, HostKind, HostLoad, HostRecord
from protonova.services.scheduler.view import HostView


class Following:
    """All streams of one scheduler."""

    def __init__(self, conf: Conf, view: HostView) -> None:
        self._conf = conf
        self._view = view
        self._lock = threading.Lock()
        self._cells: dict[str, _CellFollowing] = {}
        self._told_cells: set[str] = set()
        self._told_aggregates: list[Aggregate] = []
        self._told_providers: set[str] = set()
        self._patience_ends = 0.0
        self._channels = [connect(conf, conf.api.target), connect(conf, conf.placement.target)]
        api = cell_pb2_grpc.CellServiceStub(self._channels[0])
        aggregates = aggregate_pb2_grpc.AggregateServiceStub(self._channels[0])
        placement = resource_provider_pb2_grpc.ResourceProviderServiceStub(self._channels[1])
        self._cell_feed = Follower(
            api.WatchCells,
            lambda revision: cell_pb2.WatchCellsRequest(resume_revision=revision),
            self._on_cell,
            on_connect=self._told_cells.clear,
            name="follow-cells",
        )
        self._aggregate_feed = Follower(
            aggregates.WatchAggregates,
            lambda revision: aggregate_pb2.WatchAggregatesRequest(resume_revision=revision),
            self._on_aggregate,
            on_connect=self._told_aggregates.clear,
            name="follow-aggregates",
        )
        self._provider_feed = Follower(
            placement.WatchProviders,
            lambda revision: resource_provider_pb2.WatchProvidersRequest(resume_revision=revision),
            self._on_provider,
            on_connect=self._told_providers.clear,
            name="follow-providers",
        )

    def start(self) -> None:
        self._patience_ends = time.monotonic() + self._conf.scheduler.ready_seconds
        self._cell_feed.start()
        self._aggregate_feed.start()
        self._provider_feed.start()
        telemetry.report("scheduler", self.describe)

    def stop(self) -> None:
        telemetry.forget_report("scheduler")
        self._cell_feed.stop()
        self._aggregate_feed.stop()
        self._provider_feed.stop()
        with self._lock:
            cells, self._cells = list(self._cells.values()), {}
        for cell in cells:
            cell.stop()
        for channel in self._channels:
            channel.close()

    def describe(self) -> str:
        """For the state report."""
        with self._lock:
            cells = len(self._cells)
        waits = self.missing()
        return f"{len(self._view)} hosts of {cells} cells" + (f"; waits for {waits}" if waits else "")

    def missing(self) -> str:
        """What is waited for before decisions can be made; empty = nothing. Some silent cells are waited for only
        a while after the start; with none to be heard there is nothing to decide by, at any time."""
        if not self._cell_feed.synced.is_set():
            return "the cells"
        if not self._aggregate_feed.synced.is_set():
            return "the aggregates"
        if not self._provider_feed.synced.is_set():
            return "the resource providers"
        with self._lock:
            cells = [cell for cell in self._cells.values() if not cell.disabled]
        silent = [cell for cell in cells if not cell.synced or cell.away]
        if silent and (len(silent) == len(cells) or time.monotonic() < self._patience_ends):
            return f"the hosts of {len(silent)} cells"
        return ""

    def look_at_cells(self) -> None:
        """Takes cells that are silent for too long out of the choice, and puts those back that are heard."""
        with self._lock:
            cells = list(self._cells.values())
        for cell in cells:
            cell.judge()

    def _on_cell(self, event: cell_pb2.WatchCellsResponse) -> None:
        change = event.WhichOneof("change")
        if change == "cell":
            self._told_cells.add(event.cell.id)
            self._follow_cell(event.cell)
        elif change == "deleted_cell_id":
            self._leave_cell(event.deleted_cell_id)
        elif change == "snapshot_end":
            with self._lock:
                gone = self._cells.keys() - self._told_cells
            for cell_id in gone:
                self._leave_cell(cell_id)

    def _follow_cell(self, cell: cell_pb2.Cell) -> None:
        with self._lock:
            known = self._cells.get(cell.id)
            if known is None or known.target != cell.conductor_target:
                following = _CellFollowing(self._conf, self._view, cell.id, cell.conductor_target)
                self._cells[cell.id] = following
            else:
                following, known = known, None
        following.disabled = cell.disabled
        following.judge()
        if known is not None:
            known.stop()
        following.start()

    def _leave_cell(self, cell_id: str) -> None:
        with self._lock:
            known = self._cells.pop(cell_id, None)
        if known is not None:
            known.stop()
            self._view.keep_hosts(cell_id, ())

    def _on_aggregate(self, event: aggregate_pb2.WatchAggregatesResponse) -> None:
        change = event.WhichOneof("change")
        if change == "aggregate" and event.revision:
            self._view.aggregates.put(_aggregate(event.aggregate))
        elif change == "aggregate":
            # Of a snapshot, which is taken in whole: until its end the former state stands.
            self._told_aggregates.append(_aggregate(event.aggregate))
        elif change == "deleted_aggregate_id":
            self._view.aggregates.drop(event.deleted_aggregate_id)
        elif change == "snapshot_end":
            self._view.aggregates.replace(self._told_aggregates)

    def _on_provider(self, event: resource_provider_pb2.WatchProvidersResponse) -> None:
        change = event.WhichOneof("change")
        if change == "state":
            self._told_providers.add(event.state.provider.id)
            take_provider(self._view, event.state)
        elif change == "deleted_provider_id":
            self._view.drop_provider(event.deleted_provider_id)
        elif change == "snapshot_end":
            self._view.keep_providers(self._told_providers)


class _CellFollowing:
    """The hosts of one cell."""

    def __init__(self, conf: Conf, view: HostView, cell_id: str, target: str) -> None:
        self.target = target
        self.disabled = False
        self._view = view
        self._cell_id = cell_id
        self._away_seconds = conf.scheduler.cell_away_seconds
        self._silent_since: float | None = None
        self._told: set[str] = set()
        self._channel = connect(conf, target)
        self._watch = host_pb2_grpc.HostServiceStub(self._channel).WatchHosts
        self._started = False
        self._feed = Follower(
            self._open,
            lambda _: host_pb2.WatchHostsRequest(),
            self._on_host,
            on_connect=self._told.clear,
            name=f"follow-hosts-{cell_id}",
        )

    @property
    def synced(self) -> bool:
        return self._feed.synced.is_set()

    def start(self) -> None:
        if not self._started:
            self._started = True
            self._feed.start()

    def stop(self) -> None:
        self._feed.stop()
        self._channel.close()

    @property
    def away(self) -> bool:
        """Not heard for too long."""
        since = self._silent_since
        return since is not None and time.monotonic() - since > self._away_seconds

    def judge(self) -> None:
        self._view.set_cell(self._cell_id, usable=not (self.disabled or self.away))

    def _open(self, request: host_pb2.WatchHostsRequest) -> _Stream:
        return _Stream(self._watch(request), self._on_silence)

    def _on_silence(self) -> None:
        if self._silent_since is None:
            self._silent_since = time.monotonic()

    def _on_host(self, event: host_pb2.WatchHostsResponse) -> None:
        change = event.WhichOneof("change")
        if change == "host":
            self._told.add(event.host.node_id)
            take_host(self._view, self._cell_id, event.host)
        elif change == "load":
            take_load(self._view, event.load)
        elif change == "deleted_node_id":
            self._view.drop_host(event.deleted_node_id, self._cell_id)
        elif change == "snapshot_end":
            self._view.keep_hosts(self._cell_id, self._told)
            self._silent_since = None


class _Stream:
    """A stream that says when it ends."""

    def __init__(self, raw: Any, on_end: Callable[[], None]) -> None:
        self._raw = raw
        self._on_end = on_end

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._raw
        finally:
            self._on_end()

    def cancel(self) -> None:
        self._raw.cancel()


def _aggregate(message: aggregate_pb2.Aggregate) -> Aggregate:
    return Aggregate(message.id, message.name, frozenset(message.hosts), dict(message.metadata))


def take_host(view: HostView, cell_id: str, state: host_pb2.HostState) -> None:
    """Puts a host into the view as its conductor tells of it."""
    record = HostRecord(
        node_id=state.node_id,
        host=state.host,
        # One text for both, where they are the same.
        node=state.host if state.node == state.host else state.node,
        cell_id=cell_id,
        availability_zone=sys.intern(state.availability_zone),
        up=state.up,
        disabled=state.disabled,
        kind=HostKind(
            hypervisor_type=state.hypervisor_type,
            hypervisor_version=state.hypervisor_version,
            architecture=state.architecture,
            cpu_info=state.cpu_info,
            disk_formats=frozenset(state.supported_disk_formats),
            guests=tuple(
                (guest.architecture, guest.hypervisor_type, guest.vm_mode) for guest in state.supported_guests
            ),
        ),
        vcpus=state.vcpus,
        memory_mb=state.memory_mb,
        local_gb=state.local_gb,
        host_ip=state.host_ip,
        metrics={sys.intern(name): value for name, value in state.metrics.items()} or NONE,
        topology=state.topology.SerializeToString() if state.HasField("topology") else b"",
    )
    told = devices.told(state.devices) if state.HasField("devices") else b""
    view.put_host(record, told, holders=state.devices.server_ids)


def take_load(view: HostView, load: host_pb2.HostLoad) -> None:
    """Puts in what runs on a host."""
    counted = HostLoad(
        servers=load.servers,
        io_operations=load.io_operations,
        failed_builds=load.failed_builds,
        flavors={sys.intern(name): count for name, count in load.flavors.items()} or NONE,
        image_properties={sys.intern(name): count for name, count in load.image_properties.items()} or NONE,
    )
    view.put_load(load.node_id, counted)


def take_provider(view: HostView, state: resource_provider_pb2.ProviderState) -> None:
    """Puts in what is free on a provider, and what is not."""
    free, taken = {}, {}
    for text, own in state.inventories.items():
        name, used = sys.intern(text), state.usages.get(text, 0)
        free[name] = int((own.total - own.reserved) * own.allocation_ratio) - used
        if own.reserved + used:
            taken[name] = own.reserved + used
    view.put_provider(state.provider.id, state.provider.root_id, free, taken)
