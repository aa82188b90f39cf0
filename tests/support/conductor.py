"""A conductor in this process, with its own edges, and what tests do to it over gRPC."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from protonova.api.v1 import cell_pb2_grpc, server_group_pb2_grpc
from protonova.api.v1 import server_pb2_grpc as api_server_pb2_grpc
from protonova.common.v1 import operation_pb2_grpc, upkeep_pb2_grpc
from protonova.common.v1.resources_pb2 import AllocationSet, Destination, ResourceAmounts
from protonova.common.v1.server_pb2 import Server
from protonova.compute.v1 import console_pb2_grpc as compute_console_pb2_grpc
from protonova.compute.v1 import (
    guest_device_pb2_grpc,
    guest_image_pb2_grpc,
    guest_pb2_grpc,
    image_pb2_grpc,
)
from protonova.conductor.v1 import (
    console_pb2_grpc,
    host_pb2,
    host_pb2_grpc,
    migration_pb2_grpc,
    server_device_pb2_grpc,
    server_image_pb2_grpc,
    server_pb2,
    server_pb2_grpc,
    usage_pb2_grpc,
)
from protonova.placement.v1 import allocation_pb2_grpc
from protonova.scheduler.v1 import scheduler_pb2_grpc
from protonova.services.conductor import cell as cells
from protonova.services.conductor import main
from protonova.services.runtime import config, context, errors
from protonova.services.runtime.channel import connect
from protonova.services.runtime.server import Server as GrpcServer
from tests.support.agents import GuestImages, Guests, Images
from tests.support.devices import Consoles, Devices
from tests.support.images import FakeImages
from tests.support.networks import FakeNetworks
from tests.support.rebuild_checks import RebuildChecks
from tests.support.region import Allocations, Cells, Region
from tests.support.server_groups import ServerGroups
from tests.support.shares import FakeShares
from tests.support.volumes import FakeVolumes

SECONDS = 20.0
LOOPBACK = "127.0.0.1:0"


class Edges:
    """Everything a cell calls: agents, placement, api as gRPC servers; networks and volumes as adapters."""

    def __init__(self, directory: Path, groups: ServerGroups | None = None) -> None:
        self.conf = config.load(files=[], state_path=str(directory), graceful_shutdown_timeout=0)
        self.guests = Guests()
        self.devices = Devices(self.guests)
        self.images = Images()
        self.allocations = Allocations()
        self.region = Region()
        self.cells = Cells()
        self.networks = FakeNetworks()
        self.volumes = FakeVolumes()
        self.shares = FakeShares()
        self.glance = FakeImages()
        self.guest_images = GuestImages(self.guests, self.glance)
        self._agent = self._serve("agent", *self.agent_services())
        self._placement = self._serve(
            "placement", (allocation_pb2_grpc.add_AllocationServiceServicer_to_server, self.allocations)
        )
        self.rebuilds = RebuildChecks()
        self._scheduler = self._serve(
            "scheduler", (scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server, self.rebuilds)
        )
        self._api = self._serve(
            "api",
            (api_server_pb2_grpc.add_ServerServiceServicer_to_server, self.region),
            (cell_pb2_grpc.add_CellServiceServicer_to_server, self.cells),
            *(
                [(server_group_pb2_grpc.add_ServerGroupServiceServicer_to_server, groups.service)]
                if groups
                else []
            ),
            *self.api_services(),
        )

    def agent_services(self) -> list[tuple[Any, Any]]:
        return [
            (guest_pb2_grpc.add_GuestServiceServicer_to_server, self.guests),
            (guest_device_pb2_grpc.add_GuestDeviceServiceServicer_to_server, self.devices),
            (compute_console_pb2_grpc.add_ConsoleServiceServicer_to_server, Consoles(self.guests)),
            (guest_image_pb2_grpc.add_GuestImageServiceServicer_to_server, self.guest_images),
            (image_pb2_grpc.add_ImageServiceServicer_to_server, self.images),
        ]

    def api_services(self) -> list[tuple[Any, Any]]:
        """Beside those that every cell needs."""
        return []

    @property
    def targets(self) -> dict[str, str]:
        return {
            "agent": self._agent.address,
            "placement": self._placement.address,
            "api": self._api.address,
            "scheduler": self._scheduler.address,
        }

    def stop_agent(self) -> None:
        self._agent.stop(0)

    def close(self) -> None:
        for gate in self.guests.gates.values():
            gate.open.set()
        for server in (self._agent, self._placement, self._scheduler, self._api):
            server.stop(0)

    def _serve(self, name: str, *services: tuple[Any, Any]) -> GrpcServer:
        server = GrpcServer(self.conf, name, LOOPBACK)
        for add, servicer in services:
            server.add(add, servicer)
        server.start()
        return server


class Conductor:
    """One replica. Several may share a database and edges."""

    def __init__(self, directory: Path, edges: Edges, url: str = "", **overrides: Any) -> None:
        self.edges = edges
        self.conf = config.load(
            files=[],
            state_path=str(directory),
            graceful_shutdown_timeout=0,
            **{
                "database__connection": url or f"sqlite:///{directory}/cell.sqlite",
                "placement__target": edges.targets["placement"],
                "api__target": edges.targets["api"],
                "scheduler__target": edges.targets["scheduler"],
                "conductor__volume_poll_interval": 0.01,
                "conductor__registration_interval": 0.1,
                **overrides,
            },
        )
        self.server = GrpcServer(self.conf, "conductor", LOOPBACK)
        outside = cells.Outside(
            self.conf,
            networks=edges.networks,
            volumes=edges.volumes,
            images=edges.glance,
            shares=edges.shares,
        )
        self.cell = cells.wire(self.conf, outside)
        self.engine = main.assemble(self.conf, self.server, self.cell)
        self.server.start()
        self._channel = connect(self.conf, self.server.address)
        self.servers = server_pb2_grpc.ServerServiceStub(self._channel)
        self.devices = server_device_pb2_grpc.ServerDeviceServiceStub(self._channel)
        self.consoles = console_pb2_grpc.ConsoleServiceStub(self._channel)
        self.images = server_image_pb2_grpc.ServerImageServiceStub(self._channel)
        self.migrations = migration_pb2_grpc.MigrationServiceStub(self._channel)
        self.usage = usage_pb2_grpc.UsageServiceStub(self._channel)
        self.hosts = host_pb2_grpc.HostServiceStub(self._channel)
        self.upkeep = upkeep_pb2_grpc.UpkeepServiceStub(self._channel)
        self.operations = operation_pb2_grpc.OperationServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()
        self.server.stop(0)

    # ---- doing

    def report(self, *names: str, **fields: Any) -> None:
        self.hosts.ReportHosts(
            host_pb2.ReportHostsRequest(hosts=[self.host_report(n, **fields) for n in names])
        )

    def host_report(self, name: str, **fields: Any) -> host_pb2.HostReport:
        values = {
            "host": name,
            "node": name,
            "node_id": node_id(name),
            "agent_target": self.edges.targets["agent"],
            "availability_zone": "nova",
            "hypervisor_type": "fake",
            "host_ip": "127.0.0.1",
            "vcpus": 8,
            "memory_mb": 16384,
            "local_gb": 100,
            "agent_instance": "1",
            "share_protocols": ["NFS"],
            **fields,
        }
        return host_pb2.HostReport(**values)

    def create(self, *builds: server_pb2.ServerBuild) -> None:
        for build in builds:
            self.edges.allocations.held.setdefault(
                build.server.id,
                main_claim(build),
            )
        self.servers.CreateServers(server_pb2.CreateServersRequest(builds=builds))

    def boot(self, build: server_pb2.ServerBuild | None = None) -> Server:
        """A server that is active."""
        build = build or new_build("host1")
        self.create(build)
        return self.wait(build.server.id, lambda server: server.HasField("launched_at"))

    def store(self, *servers: Server) -> None:
        """Servers that are simply there."""

        def insert(connection: Any) -> None:
            self.cell.servers.insert(connection, servers)
            self.cell.servers.tell(connection, *servers)

        self.cell.db.write(insert)

    def get(self, server_id: str, *, deleted: bool = False) -> Server:
        return self.servers.GetServer(
            server_pb2.GetServerRequest(id=server_id, include_deleted=deleted)
        ).server

    # ---- waiting

    def wait(self, server_id: str, until: Callable[[Server], bool]) -> Server:
        """Follows the server feed until a server is as wanted."""
        request = server_pb2.WatchServersRequest()
        request.filter.server_ids.append(server_id)
        request.filter.soft_deleted = True
        seen: list[str] = []
        stream = self.servers.WatchServers(request, timeout=SECONDS)
        try:
            for change in stream:
                if change.HasField("server"):
                    seen.append(_shown(change.server))
                    if until(change.server):
                        return change.server
        except errors.DeadlineExceeded:
            raise AssertionError(f"The server went: {', '.join(seen)}") from None
        finally:
            stream.cancel()
        raise AssertionError("The feed ended.")

    def settled(self, server_id: str) -> None:
        """Until everything that was begun with a server is over, well or not."""
        for operation in self.engine.list(subject=server_id):
            found = self.engine.wait(operation.id, SECONDS)
            assert found.finished_at, f"{found.kind} {found.state} at {found.step}: {found.error!r}"

    def wait_gone(self, server_id: str) -> Server:
        request = server_pb2.WatchServersRequest()
        request.filter.soft_deleted = True
        stream = self.servers.WatchServers(request, timeout=SECONDS)
        try:
            there = False
            for change in stream:
                if change.WhichOneof("change") == "server" and change.server.id == server_id:
                    there = True
                gone = change.WhichOneof("change") == "deleted_server_id"
                if gone and change.deleted_server_id == server_id:
                    break
                if change.WhichOneof("change") == "snapshot_end" and not there:
                    break
        finally:
            stream.cancel()
        return self.get(server_id, deleted=True)


def _shown(server: Server) -> str:
    return f"{server.vm_state}/{server.task_state}@{server.host}"


def node_id(host: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, host))


def destination(host: str) -> Destination:
    claims = AllocationSet(providers={node_id(host): ResourceAmounts(amounts={"VCPU": 1, "MEMORY_MB": 512})})
    return Destination(
        host=host, node=host, node_id=node_id(host), availability_zone="nova", allocations=claims
    )


def new_server(**fields: Any) -> Server:
    values = {
        "id": str(uuid.uuid4()),
        "name": "server",
        "hostname": "server",
        "project_id": "project",
        "user_id": "user",
        **fields,
    }
    server = Server(**values)
    if not server.HasField("flavor"):
        server.flavor.id = "1"
        server.flavor.vcpus = 1
        server.flavor.memory_mb = 512
        server.flavor.root_gb = 1
    if not server.HasField("image"):
        server.image.id = str(uuid.uuid4())
    return server


def new_build(host: str, *alternates: str, **fields: Any) -> server_pb2.ServerBuild:
    return server_pb2.ServerBuild(
        server=fields.pop("server", None) or new_server(),
        destination=destination(host),
        alternates=[destination(name) for name in alternates],
        **fields,
    )


def main_claim(build: server_pb2.ServerBuild) -> Any:
    """What the scheduler has claimed before the cell gets the server."""
    from protonova.placement.v1.allocation_pb2 import ConsumerAllocations

    return ConsumerAllocations(consumer_id=build.server.id, allocations=build.destination.allocations)


def as_user(**fields: Any) -> Any:
    """A context manager: calls are made by a user, not an administrator, unless told otherwise."""
    values = {
        "request_id": f"req-{uuid.uuid4()}",
        "user_id": "user",
        "project_id": "project",
        "roles": ("member",),
        **fields,
    }
    return context.use(context.RequestContext(**values))


def by_somebody() -> Any:
    """A context manager: calls are made by a user, where no other caller is named."""
    return contextlib.nullcontext() if context.current().user_id else as_user()


def unblocked(event: threading.Event) -> None:
    assert event.wait(SECONDS), "It did not happen in time."
