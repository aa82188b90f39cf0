"""Everything a scheduler stands on, in this process, and a caller's handle on it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from google.protobuf import struct_pb2

from protonova.api.v1 import aggregate_pb2_grpc, cell_pb2_grpc, server_group_pb2_grpc
from protonova.common.v1 import flavor_pb2, server_pb2
from protonova.conductor.v1 import host_pb2_grpc
from protonova.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from protonova.services.runtime import config
from protonova.services.runtime.channel import connect
from protonova.services.runtime.server import Server
from protonova.services.scheduler import main
from tests.support.hosts import Aggregates, Cells, Hosts
from tests.support.placement import Placement, PlacementCaller
from tests.support.server_groups import ServerGroups

SIZES = {"VCPU": 8, "MEMORY_MB": 8192, "DISK_GB": 100}
CELL = "cell-1"


class Region:
    """Placement (one of its own, unless it is given), api, conductors, and the scheduler once a host was added."""

    def __init__(
        self,
        database_url: str,
        *,
        groups_url: str = "",
        placement: PlacementCaller | None = None,
        **options: Any,
    ) -> None:
        self.placement = placement or Placement(database_url)
        self.cells = Cells()
        self.aggregates = Aggregates()
        self.conductors: dict[str, Hosts] = {}
        self._servers: list[Server] = []
        self._options = options
        self.groups = ServerGroups(groups_url or f"{database_url}-groups")
        self.api = self.serve(
            (cell_pb2_grpc.add_CellServiceServicer_to_server, self.cells),
            (aggregate_pb2_grpc.add_AggregateServiceServicer_to_server, self.aggregates),
            (server_group_pb2_grpc.add_ServerGroupServiceServicer_to_server, self.groups.service),
        )
        self._schedulers: list[Server] = []
        self._channels: list[grpc.Channel] = []
        # Hosts by node.
        self.names: dict[str, str] = {}

    def serve(self, *servicers: tuple[Callable[..., Any], Any]) -> str:
        """Others that a scheduler is to call; their address."""
        server = Server(config.load(files=[]), "fake", "127.0.0.1:0")
        for add, servicer in servicers:
            server.add(add, servicer)
        server.start()
        self._servers.append(server)
        return server.address

    def cell(self, cell_id: str = CELL) -> Hosts:
        if cell_id not in self.conductors:
            hosts = self.conductors[cell_id] = Hosts(cell_id)
            self.cells.put(cell_id, self.serve((host_pb2_grpc.add_HostServiceServicer_to_server, hosts)))
        return self.conductors[cell_id]

    def host(
        self,
        name: str,
        sizes: Mapping[str, Any] = SIZES,
        *,
        cell: str = CELL,
        traits: tuple[str, ...] = (),
        aggregates: tuple[str, ...] = (),
        **fields: Any,
    ) -> str:
        """A host with its provider, which is in these aggregates; answers the node's id."""
        node_id = self.placement.provider(name, inventories=sizes, traits=traits, aggregates=aggregates)
        self.cell(cell).put(node_id, name, **fields)
        self.names[node_id] = name
        return node_id

    def start(self, **options: Any) -> scheduler_pb2_grpc.SchedulerServiceStub:
        """Another replica; its door."""
        conf = config.load(
            files=[],
            **{
                "api__target": self.api,
                "placement__target": self.placement.address,
                "graceful_shutdown_timeout": 0.5,
                **self._options,
                **options,
            },
        )
        scheduler = Server(conf, "scheduler", "127.0.0.1:0")
        main.build(conf, scheduler)
        scheduler.start()
        self._schedulers.append(scheduler)
        self._channels.append(connect(conf, scheduler.address))
        self.stub = scheduler_pb2_grpc.SchedulerServiceStub(self._channels[-1])
        return self.stub

    def select(
        self,
        count: int = 1,
        *,
        alternates: int = 0,
        servers: list[str] | None = None,
        move: scheduler_pb2.Move | None = None,
        **fields: Any,
    ) -> list[scheduler_pb2.Selection]:
        """Asks as soon as the scheduler is ready."""
        if not self._schedulers:
            self.start()
        request = scheduler_pb2.SelectDestinationsRequest(
            spec=spec(**fields),
            server_ids=servers or [str(uuid.uuid4()) for _ in range(count)],
            max_alternates=alternates,
            move=move,
        )
        return list(eventually(lambda: self.stub.SelectDestinations(request)).selections)

    def hosts_of(self, *args: Any, **fields: Any) -> list[str]:
        """Names of the hosts chosen, in order; empty where there is none."""
        return [selection.destination.host for selection in self.select(*args, **fields)]

    def close(self) -> None:
        for channel in self._channels:
            channel.close()
        for scheduler in self._schedulers:
            scheduler.stop()
        for conductor in self.conductors.values():
            conductor.topic.gone.set()
        self.cells.topic.gone.set()
        self.aggregates.topic.gone.set()
        for server in self._servers:
            server.stop(0)
        self.groups.close()
        self.placement.close()


def eventually(ask: Callable[[], Any], until: Callable[[Any], bool] = lambda _: True) -> Any:
    """The first answer that is as wanted, while the scheduler learns of what was told."""
    from protonova.services.runtime import errors

    deadline = time.monotonic() + 10
    while True:
        try:
            answer = ask()
            if until(answer) or time.monotonic() > deadline:
                return answer
        except errors.Unavailable as error:
            if error.reason != "SCHEDULER_NOT_READY" or time.monotonic() > deadline:
                raise


def spec(
    *,
    vcpus: int = 1,
    memory_mb: int = 1024,
    root_gb: int = 10,
    ephemeral_gb: int = 0,
    swap_mb: int = 0,
    extra_specs: Mapping[str, str] | None = None,
    image: Mapping[str, str] | None = None,
    hints: Mapping[str, Any] | None = None,
    **fields: Any,
) -> scheduler_pb2.RequestSpec:
    """`image` holds image properties."""
    message = scheduler_pb2.RequestSpec(
        project_id="project",
        user_id="user",
        flavor=flavor_pb2.Flavor(
            vcpus=vcpus,
            memory_mb=memory_mb,
            root_gb=root_gb,
            ephemeral_gb=ephemeral_gb,
            swap_mb=swap_mb,
            extra_specs=extra_specs or {},
        ),
        image=server_pb2.ImageSnapshot(id="image", properties=image or {}),
        **fields,
    )
    if hints:
        message.scheduler_hints.CopyFrom(struct_pb2.Struct())
        message.scheduler_hints.update(hints)
    return message
