"""A region for tests: the api service over real gRPC, cells, scheduler and placement in this process."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from protonova.api.v1 import (
    aggregate_pb2_grpc,
    cell_pb2,
    cell_pb2_grpc,
    flavor_pb2,
    flavor_pb2_grpc,
    host_pb2_grpc,
    keypair_pb2_grpc,
    migration_pb2_grpc,
    quota_pb2,
    quota_pb2_grpc,
    server_group_pb2,
    server_group_pb2_grpc,
    server_pb2,
    server_pb2_grpc,
    usage_pb2_grpc,
)
from protonova.common.v1 import operation_pb2_grpc, upkeep_pb2_grpc
from protonova.common.v1.flavor_pb2 import Flavor
from protonova.services.api import main, tables
from protonova.services.runtime import channel, config, context
from protonova.services.runtime.database import Database
from protonova.services.runtime.server import Server
from tests.support.catalog import Images, Networks, Volumes
from tests.support.cell import Cell
from tests.support.claims import Claims

PATIENCE = 20.0

ADMIN = context.RequestContext(request_id="req-admin", user_id="admin", project_id="admins", is_admin=True)
MEMBER = context.RequestContext(request_id="req-1", user_id="user", project_id="project", roles=("member",))
OTHER = context.RequestContext(request_id="req-2", user_id="other", project_id="elsewhere", roles=("member",))


class Api:
    """One replica of the service, with a stub for each of its doors."""

    def __init__(self, conf, sources: main.Sources) -> None:
        self.server = Server(conf, "api", "127.0.0.1:0")
        self.engine = main.build(conf, self.server, sources)
        self.target = f"127.0.0.1:{self.server.start()}"
        self.channel = channel.connect(conf, self.target)
        self.servers = server_pb2_grpc.ServerServiceStub(self.channel)
        self.flavors = flavor_pb2_grpc.FlavorServiceStub(self.channel)
        self.keypairs = keypair_pb2_grpc.KeypairServiceStub(self.channel)
        self.moves = migration_pb2_grpc.MigrationServiceStub(self.channel)
        self.quotas = quota_pb2_grpc.QuotaServiceStub(self.channel)
        self.groups = server_group_pb2_grpc.ServerGroupServiceStub(self.channel)
        self.usage = usage_pb2_grpc.UsageServiceStub(self.channel)
        self.hosts = host_pb2_grpc.HostServiceStub(self.channel)
        self.aggregates = aggregate_pb2_grpc.AggregateServiceStub(self.channel)
        self.cells = cell_pb2_grpc.CellServiceStub(self.channel)
        self.operations = operation_pb2_grpc.OperationServiceStub(self.channel)
        self.upkeep = upkeep_pb2_grpc.UpkeepServiceStub(self.channel)

    def stop(self) -> None:
        self.channel.close()
        self.server.stop(0)


class Region:
    def __init__(self, path, url: str, **options) -> None:
        self.path, self.url, self.options = path, url, options
        self.plain = config.load(grpc={"wait_seconds": 0.2}, files=[])
        self.claims = Claims(self.plain)
        self.images, self.networks, self.volumes = Images(), Networks(), Volumes()
        self.cells: list[Cell] = []
        self.replicas: list[Api] = []
        self.api = self.add_replica()

    def conf(self, **more):
        settings = {
            "state_path": str(self.path),
            "graceful_shutdown_timeout": 0,
            "api_database": {"connection": self.url},
            "scheduler__target": self.claims.target,
            "placement__target": self.claims.target,
            "grpc": {"wait_seconds": 0.2},
            "operations": {"lease_seconds": 1.0, "poll_seconds": 0.05},
            "api__cell_timeout": 5,
        }
        return config.load(files=[], **{**settings, **self.options, **more})

    def add_replica(self, **more) -> Api:
        api = Api(self.conf(**more), main.Sources(self.images, self.networks, self.volumes))
        self.replicas.append(api)
        return api

    def add_cell(self, name: str = "cell1", hosts: int = 1) -> Cell:
        cell = Cell(self.plain, name)
        for number in range(hosts):
            cell.add_host(f"{name}-host{number}")
            self.claims.places.append((f"{name}-host{number}", cell.id))
        self.cells.append(cell)
        with context.use(ADMIN):
            self.api.cells.RegisterCell(
                cell_pb2.RegisterCellRequest(
                    cell=cell_pb2.Cell(id=cell.id, name=name, conductor_target=cell.target)
                )
            )
        return cell

    def add_flavor(self, flavor_id: str = "small", **fields) -> Flavor:
        values = {"vcpus": 1, "memory_mb": 512, "root_gb": 1, "is_public": True, "name": flavor_id, **fields}
        with context.use(ADMIN):
            return self.api.flavors.CreateFlavor(
                flavor_pb2.CreateFlavorRequest(flavor=Flavor(id=flavor_id, **values))
            ).flavor

    def add_group(self, policy: str = "ANTI_AFFINITY", **fields) -> server_group_pb2.ServerGroup:
        group = server_group_pb2.ServerGroup(
            name="together", policy=f"SERVER_GROUP_POLICY_{policy}", **fields
        )
        request = server_group_pb2.CreateServerGroupRequest(group=group)
        return self.api.groups.CreateServerGroup(request).group

    def members(self, group_id: str) -> list[str]:
        request = server_group_pb2.GetServerGroupRequest(id=group_id)
        return list(self.api.groups.GetServerGroup(request).group.member_ids)

    def places(self, group_id: str) -> dict[str, str]:
        """Hosts by member."""
        request = server_group_pb2.GetServerGroupPlacesRequest(id=group_id)
        return {place.server_id: place.host for place in self.api.groups.GetServerGroupPlaces(request).places}

    def give_places(self, group_id: str, places: dict[str, str], *clear: str, generation: int = 0) -> int:
        """Hosts by server id; returns the group's generation."""
        request = server_group_pb2.PlaceServerGroupMembersRequest(
            id=group_id,
            generation=generation,
            places=[
                server_group_pb2.MemberPlace(server_id=server_id, host=host)
                for server_id, host in places.items()
            ],
            clear_server_ids=clear,
        )
        return self.api.groups.PlaceServerGroupMembers(request).generation

    def request(self, **fields) -> server_pb2.CreateServersRequest:
        values = {
            "name": "web",
            "flavor_id": "small",
            "image_id": next(iter(self.images.images), ""),
            "network_mode": server_pb2.NETWORK_MODE_NONE,
            **fields,
        }
        return server_pb2.CreateServersRequest(**values)

    def create(self, api: Api | None = None, **fields) -> server_pb2.CreateServersResponse:
        return (api or self.api).servers.CreateServers(self.request(**fields))

    def built(self, answer: server_pb2.CreateServersResponse, api: Api | None = None):
        """Waits for the build operation; returns it."""
        [operation] = self.operations(answer.reservation_id)
        return (api or self.api).engine.wait(operation.id, PATIENCE)

    def operations(self, subject: str):
        return self.api.engine.list(subject=subject)

    def get(self, server_id: str, **fields):
        return self.api.servers.GetServer(server_pb2.GetServerRequest(id=server_id, **fields)).server

    def delete(self, server_id: str) -> None:
        self.api.servers.DeleteServer(server_pb2.DeleteServerRequest(id=server_id))

    def release(self, *server_ids: str) -> None:
        self.api.servers.ReleaseServers(server_pb2.ReleaseServersRequest(server_ids=server_ids))

    def used(self, project_id: str = "project", user_id: str = "") -> dict[str, int]:
        request = quota_pb2.GetQuotaRequest(project_id=project_id, user_id=user_id)
        return {line.resource: line.used for line in self.api.quotas.GetQuota(request).lines}

    def limit(self, project_id: str = "project", user_id: str = "", **limits: int) -> None:
        self.api.quotas.UpdateQuota(
            quota_pb2.UpdateQuotaRequest(project_id=project_id, user_id=user_id, limits=limits, force=True)
        )

    def rows(self, query) -> list:
        """What a replica's database holds."""
        database = Database(self.url, metadata=tables.metadata)
        try:
            return list(database.read(lambda connection: connection.execute(query).all()))
        finally:
            database.close()

    def without_cell(self) -> set[str]:
        mappings = tables.instance_mappings
        return {row.id for row in self.rows(sa.select(mappings.c.id).where(mappings.c.cell_id.is_(None)))}

    def until(self, condition, tell=lambda: "") -> None:
        """Looks again and again until something has come about; `tell` says how it is when it has not."""
        pause, deadline = threading.Event(), time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"it did not come about: {tell()}"
            pause.wait(0.02)

    def stop(self) -> None:
        for api in self.replicas:
            with contextlib.suppress(Exception):
                api.stop()
        for cell in self.cells:
            cell.stop()
        self.claims.stop()


def in_parallel(count: int, task):
    """Runs `task(number)` in threads that begin together; results (or what was raised) in order."""
    barrier = threading.Barrier(count)

    def run(number: int):
        with context.use(MEMBER):
            barrier.wait(PATIENCE)
            try:
                return task(number)
            except Exception as error:  # noqa: BLE001 - the test judges it
                return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@pytest.fixture
def region(tmp_path):
    """On SQLite, with a member as caller, a flavor and an image."""
    region = Region(tmp_path, f"sqlite:///{tmp_path}/api.sqlite")
    try:
        region.images.add()
        region.add_flavor()
        with context.use(MEMBER):
            yield region
    finally:
        region.stop()


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
    ]
)
def any_region(request, tmp_path):
    """The same on each kind of database."""
    kind = request.param
    url = f"sqlite:///{tmp_path}/api.sqlite" if kind == "sqlite" else request.getfixturevalue(f"{kind}_url")
    region = Region(tmp_path, url)
    try:
        region.images.add()
        region.add_flavor()
        with context.use(MEMBER):
            yield region
    finally:
        region.stop()
