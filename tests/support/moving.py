"""The edges of a cell whose servers move: a real agent with several fake hosts, a scheduler that does as it is
told, and the part of api that keeps count of quotas."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from protonova.api.v1 import migration_pb2 as api_pb
from protonova.api.v1 import migration_pb2_grpc as api_grpc
from protonova.common.v1.flavor_pb2 import Flavor
from protonova.common.v1.migration_pb2 import Migration, MigrationStatus, MigrationType
from protonova.common.v1.resources_pb2 import AllocationSet, Destination, ResourceAmounts
from protonova.common.v1.server_pb2 import Server
from protonova.compute.v1 import guest_move_pb2_grpc, guest_pb2_grpc
from protonova.conductor.v1 import migration_pb2 as pb
from protonova.conductor.v1 import migration_pb2_grpc
from protonova.placement.v1 import allocation_pb2
from protonova.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from protonova.services.compute.guests import GuestServicer
from protonova.services.compute.hosts import Host, Hosts
from protonova.services.compute.journal import Journal
from protonova.services.compute.moves import GuestMoveServicer
from protonova.services.compute.pinning import Pinning
from protonova.services.compute.virt.driver import PowerState
from protonova.services.compute.virt.fake import FakeDriver, FakeSettings, FaultPlan
from protonova.services.runtime.channel import connect
from tests.support.conductor import SECONDS, Conductor, Edges, node_id
from tests.support.server_groups import ServerGroups

HOSTS = ("host1", "host2", "host3")
SMALL = Flavor(id="1", name="small", vcpus=1, memory_mb=512, root_gb=1)
LARGE = Flavor(id="2", name="large", vcpus=2, memory_mb=1024, root_gb=2)


class FakeHosts:
    """What the hypervisors of all hosts say, and what goes wrong in them."""

    def __init__(self, directory: Path, names: Sequence[str] = HOSTS, **settings: Any) -> None:
        self.faults = FaultPlan()
        self.journal = Journal(directory / "journal.sqlite")
        self.drivers = {
            name: FakeDriver(name, FakeSettings(faults=self.faults, **settings)) for name in names
        }
        self.hosts = Hosts({name: Host(name, node_id(name), driver) for name, driver in self.drivers.items()})
        self.pinning = Pinning(self.hosts)
        # As of the agents of other tests.
        self.gates: dict[str, Any] = {}

    def fail(self, call: str, error: str = "DriverError", **rule: Any) -> None:
        self.faults.set({"call": call, "error": error, **rule})

    def where(self, server_id: str) -> list[str]:
        return [
            name
            for name, driver in self.drivers.items()
            if any(state.server_id == server_id for state in driver.guests())
        ]

    def running(self, server_id: str) -> list[str]:
        return [
            name
            for name, driver in self.drivers.items()
            for state in driver.guests()
            if state.server_id == server_id and state.power_state is PowerState.RUNNING
        ]

    def aside(self, server_id: str) -> list[str]:
        return [
            name
            for name, driver in self.drivers.items()
            for known, _ in driver.asides()
            if known == server_id
        ]

    def boots(self, server_id: str) -> int:
        (host,) = self.where(server_id)
        return self.drivers[host]._records[server_id].boots


class Scheduler(scheduler_pb2_grpc.SchedulerServiceServicer):
    """Names `hosts` in their order and claims the first, for the size that is asked for."""

    def __init__(self, allocations: Any) -> None:
        self.hosts: list[str] = list(HOSTS)
        self.place = place
        self.requests: list[scheduler_pb2.SelectDestinationsRequest] = []
        self._allocations = allocations

    def SelectDestinations(self, request, context):
        self.requests.append(request)
        spec = request.spec
        left = [name for name in self.hosts if name not in spec.ignore_hosts]
        left = [name for name in left if spec.host in ("", name)]
        (consumer_id,) = request.server_ids
        selection = scheduler_pb2.Selection(server_id=consumer_id)
        if not left:
            selection.failure = "No valid host was found. Nobody is left."
            return scheduler_pb2.SelectDestinationsResponse(selections=[selection])
        found = [self.place(name, spec.flavor) for name in left]
        selection.destination.CopyFrom(found[0])
        selection.alternates.extend(found[1 : 1 + request.max_alternates])
        claim = allocation_pb2.ConsumerAllocations(
            consumer_id=consumer_id, allocations=found[0].allocations, consumer_type="MIGRATION"
        )
        self._allocations.ReplaceAllocations(
            allocation_pb2.ReplaceAllocationsRequest(consumers=[claim]), context
        )
        return scheduler_pb2.SelectDestinationsResponse(selections=[selection])


class Usage(api_grpc.MigrationServiceServicer):
    """What servers count for, by (server, migration)."""

    def __init__(self) -> None:
        self.settled: dict[tuple[str, str], tuple[int, int]] = {}

    def SettleServerUsage(self, request, context):
        self.settled[request.server_id, request.migration_id] = (
            request.flavor.vcpus,
            request.flavor.memory_mb,
        )
        return api_pb.SettleServerUsageResponse()


class MovingEdges(Edges):
    def __init__(self, directory: Path, groups: ServerGroups | None = None, **settings: Any) -> None:
        self.fakes = FakeHosts(directory, **settings)
        self.usage = Usage()
        super().__init__(directory, groups)
        self.guests = self.fakes
        self.scheduler = Scheduler(self.allocations)
        self._scheduler = self._serve(
            "scheduler", (scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server, self.scheduler)
        )

    def agent_services(self) -> list[tuple[Any, Any]]:
        fakes = self.fakes
        return [
            (
                guest_pb2_grpc.add_GuestServiceServicer_to_server,
                GuestServicer(fakes.hosts, fakes.journal, fakes.pinning),
            ),
            (
                guest_move_pb2_grpc.add_GuestMoveServiceServicer_to_server,
                GuestMoveServicer(self.conf, fakes.hosts, fakes.journal, fakes.pinning),
            ),
        ]

    def api_services(self) -> list[tuple[Any, Any]]:
        return [(api_grpc.add_MigrationServiceServicer_to_server, self.usage)]

    @property
    def options(self) -> dict[str, str]:
        """For conductors beside those all edges give."""
        return {"scheduler__target": self._scheduler.address}

    def close(self) -> None:
        super().close()
        self._scheduler.stop(0)
        self.fakes.hosts.close()
        self.fakes.journal.close()

    def held(self, consumer_id: str) -> dict[str, int]:
        """CPUs by host."""
        found = self.allocations.held.get(consumer_id)
        names = {node_id(name): name for name in HOSTS}
        if found is None:
            return {}
        return {names[key]: value.amounts["VCPU"] for key, value in found.allocations.providers.items()}


class Mover:
    """A conductor, as one calls it who moves servers."""

    def __init__(self, conductor: Conductor, *, may_leave_cell: bool = False, first: int = 1) -> None:
        self.conductor = conductor
        self._may_leave_cell = may_leave_cell
        self._channel = connect(conductor.conf, conductor.server.address)
        self.stub = migration_pb2_grpc.MigrationServiceStub(self._channel)
        # Of the ids it gives to migrations.
        self._number = first - 1

    def close(self) -> None:
        self._channel.close()

    def new_id(self) -> str:
        self._number += 1
        return f"00000000-0000-4000-8000-{self._number:012}"

    def resize(self, server_id: str, flavor: Flavor = LARGE, **spec: Any) -> str:
        """The migration's id."""
        return self._move(server_id, MigrationType.MIGRATION_TYPE_RESIZE, flavor, **spec)

    def migrate(self, server_id: str, flavor: Flavor = SMALL, **spec: Any) -> str:
        return self._move(server_id, MigrationType.MIGRATION_TYPE_MIGRATION, flavor, **spec)

    def confirm(self, server_id: str) -> None:
        self.stub.ConfirmResize(pb.ConfirmResizeRequest(server_id=server_id))

    def revert(self, server_id: str) -> None:
        self.stub.RevertResize(pb.RevertResizeRequest(server_id=server_id))

    def live(
        self, server_id: str, *, block_migration: int = 0, check_first: bool = False, **spec: Any
    ) -> str:
        migration_id = self.new_id()
        self.stub.LiveMigrateServer(
            pb.LiveMigrateServerRequest(
                server_id=server_id,
                migration_id=migration_id,
                spec=scheduler_pb2.RequestSpec(project_id="project", flavor=SMALL, **spec),
                block_migration=block_migration,
                check_first=check_first,
            )
        )
        return migration_id

    def evacuate(self, server_id: str, *, shared: bool | None = None, stop: bool = False, **spec: Any) -> str:
        migration_id = self.new_id()
        request = pb.EvacuateServerRequest(
            server_id=server_id,
            migration_id=migration_id,
            spec=scheduler_pb2.RequestSpec(project_id="project", flavor=SMALL, **spec),
            stop=stop,
        )
        if shared is not None:
            request.on_shared_storage = shared
        self.stub.EvacuateServer(request)
        return migration_id

    def until(self, migration_id: str, status: str) -> Migration:
        """Waits for a status, by the records of the server's operations where it is the last one."""
        wanted = MigrationStatus.Value(f"MIGRATION_STATUS_{status.upper()}")
        ends = time.monotonic() + SECONDS
        while True:
            found = self.migration(migration_id)
            if found.status == wanted:
                return found
            assert time.monotonic() < ends, MigrationStatus.Name(found.status)

    def migration(self, migration_id: str) -> Migration:
        (found,) = self.stub.ListMigrations(pb.ListMigrationsRequest(id=migration_id)).migrations
        return found

    def wait(self, server_id: str, until: Callable[[Server], bool]) -> Server:
        return self.conductor.wait(server_id, until)

    def _move(self, server_id: str, kind: Any, flavor: Flavor, **spec: Any) -> str:
        migration_id = self.new_id()
        self.stub.MoveServer(
            pb.MoveServerRequest(
                server_id=server_id,
                migration_id=migration_id,
                type=kind,
                spec=scheduler_pb2.RequestSpec(project_id="project", flavor=flavor, **spec),
                may_leave_cell=self._may_leave_cell,
            )
        )
        return migration_id


def place(host: str, flavor: Flavor) -> Destination:
    amounts = {"VCPU": flavor.vcpus, "MEMORY_MB": flavor.memory_mb}
    return Destination(
        host=host,
        node=host,
        node_id=node_id(host),
        availability_zone=f"zone of {host}",
        allocations=AllocationSet(providers={node_id(host): ResourceAmounts(amounts=amounts)}),
    )
