"""MigrationService: moves of servers of the whole region.

What a move refers to - flavor, host, quota - is checked here; the conductor of the server's cell decides what the
server's state allows, and moves it. A host of another cell is refused, unless the caller lets the server leave its
cell (resize and cold migration).
"""

from __future__ import annotations

import uuid
from typing import Any

import grpc
from sqlalchemy import Connection

from protonova.api.v1 import migration_pb2 as pb
from protonova.api.v1 import migration_pb2_grpc
from protonova.common.v1.flavor_pb2 import Flavor
from protonova.common.v1.migration_pb2 import Migration, MigrationType
from protonova.common.v1.server_pb2 import Server
from protonova.conductor.v1 import migration_pb2 as conductor_pb
from protonova.conductor.v1 import server_pb2
from protonova.scheduler.v1.scheduler_pb2 import RequestSpec
from protonova.services.api import flavors, hint_hosts, mappings, move_charges, request_specs, server_groups
from protonova.services.api.cells import Cells
from protonova.services.api.creation import block_devices, images, numa, pci
from protonova.services.api.creation.plan import generated_password
from protonova.services.api.fan_out import FanOut
from protonova.services.api.hosts import HostDirectory
from protonova.services.api.limits import Limits
from protonova.services.api.mappings import Mappings, Place
from protonova.services.api.relay import Relay, carried
from protonova.services.runtime import context as contexts
from protonova.services.runtime import errors
from protonova.services.runtime.config import Conf
from protonova.services.runtime.context import RequestContext
from protonova.services.runtime.database import Database
from protonova.services.runtime.operations import Engine


class MigrationService(migration_pb2_grpc.MigrationServiceServicer):
    def __init__(
        self,
        conf: Conf,
        db: Database,
        cells: Cells,
        places: Mappings,
        hosts: HostDirectory,
        limits: Limits,
        engine: Engine,
        fan_out: FanOut,
    ) -> None:
        self._conf = conf
        self._aliases = pci.aliases(conf)
        self._db = db
        self._cells = cells
        self._places = places
        self._hosts = hosts
        self._limits = limits
        self._engine = engine
        self._fan_out = fan_out
        self.relay = Relay(cells, places)

    # ---- cold

    def ResizeServer(
        self, request: pb.ResizeServerRequest, context: grpc.ServicerContext
    ) -> pb.ResizeServerResponse:
        place, server = self._server(request.server_id, "resize")
        flavor = self._new_flavor(server, request.flavor_id, contexts.current())
        spec = self._spec(server, flavor)
        question = conductor_pb.MoveServerRequest(
            server_id=server.id,
            migration_id=str(uuid.uuid4()),
            type=MigrationType.MIGRATION_TYPE_RESIZE,
            spec=spec,
            may_leave_cell=request.may_leave_cell,
        )
        if request.HasField("auto_disk_config"):
            images.check_properties(
                server.image, auto_disk_config=request.auto_disk_config, field="auto_disk_config"
            )
            question.auto_disk_config = request.auto_disk_config
        self._charge(place, server, flavor, question.migration_id)
        try:
            self._ask(place, "MoveServer", question)
        except errors.Error as error:
            if not error.transient:
                self._db.write(lambda connection: move_charges.remove(connection, question.migration_id))
            raise
        return pb.ResizeServerResponse()

    def MigrateServer(
        self, request: pb.MigrateServerRequest, context: grpc.ServicerContext
    ) -> pb.MigrateServerResponse:
        place, server = self._server(request.server_id, "migrate")
        spec = self._spec(server, server.flavor)
        if request.host:
            self._check_host(request.host, place, server, may_leave_cell=request.may_leave_cell)
            spec.host = request.host
        question = conductor_pb.MoveServerRequest(
            server_id=server.id,
            migration_id=str(uuid.uuid4()),
            type=MigrationType.MIGRATION_TYPE_MIGRATION,
            spec=spec,
            may_leave_cell=request.may_leave_cell,
        )
        self._ask(place, "MoveServer", question)
        return pb.MigrateServerResponse()

    ConfirmResize = carried("confirmResize")
    RevertResize = carried("revertResize")

    # ---- live, and after a failure

    def LiveMigrateServer(
        self, request: pb.LiveMigrateServerRequest, context: grpc.ServicerContext
    ) -> pb.LiveMigrateServerResponse:
        place, server = self._server(request.server_id, "os-migrateLive")
        spec = self._spec(server, server.flavor)
        if request.host:
            self._check_host(request.host, place, server)
            spec.host = request.host
            spec.skip_filters = request.force
        question = conductor_pb.LiveMigrateServerRequest(
            server_id=server.id,
            migration_id=str(uuid.uuid4()),
            spec=spec,
            block_migration=request.block_migration,
            disk_over_commit=request.disk_over_commit,
            check_first=request.check_first,
        )
        self._ask(place, "LiveMigrateServer", question)
        return pb.LiveMigrateServerResponse()

    def EvacuateServer(
        self, request: pb.EvacuateServerRequest, context: grpc.ServicerContext
    ) -> pb.EvacuateServerResponse:
        place, server = self._server(request.server_id, "evacuate")
        spec = self._spec(server, server.flavor)
        if request.host:
            self._check_host(request.host, place, server, unknown=errors.NotFound)
            spec.host = request.host
            spec.skip_filters = request.force
        shared = request.HasField("on_shared_storage") and request.on_shared_storage
        password = request.admin_password
        if not (password or shared):
            password = generated_password(self._conf.password_length)
        question = conductor_pb.EvacuateServerRequest(
            server_id=server.id,
            migration_id=str(uuid.uuid4()),
            spec=spec,
            admin_password=password,
            stop=request.stop,
        )
        if request.HasField("on_shared_storage"):
            question.on_shared_storage = request.on_shared_storage
        self._ask(place, "EvacuateServer", question)
        shown = password if self._conf.api.enable_instance_password and not shared else ""
        return pb.EvacuateServerResponse(admin_password=shown)

    # ---- migrations

    def ListMigrations(
        self, request: pb.ListMigrationsRequest, context: grpc.ServicerContext
    ) -> pb.ListMigrationsResponse:
        question = conductor_pb.ListMigrationsRequest(filter=request.filter, page_size=request.page_size)
        caller = contexts.current()
        if not caller.is_admin:
            question.filter.project_id = caller.project_id
        if request.page_token:
            question.after.CopyFrom(self._marker(request.page_token, caller))
        found = self._from_cells(question)
        if request.page_size:
            del found[request.page_size :]
        return pb.ListMigrationsResponse(migrations=found)

    def GetMigration(
        self, request: pb.GetMigrationRequest, context: grpc.ServicerContext
    ) -> pb.GetMigrationResponse:
        place = self._places.locate(request.server_id)
        if place.building is not None:
            raise errors.NotFound(
                f"Migration {request.number} of server {request.server_id} could not be found.",
                reason="MIGRATION_NOT_FOUND",
                server_id=request.server_id,
            )
        question = conductor_pb.GetMigrationRequest(server_id=request.server_id, number=request.number)
        return pb.GetMigrationResponse(migration=self._ask(place, "GetMigration", question).migration)

    AbortMigration = carried("live_migration_cancel")
    ForceCompleteMigration = carried("live_migration_force_complete")

    def SettleServerUsage(
        self, request: pb.SettleServerUsageRequest, context: grpc.ServicerContext
    ) -> pb.SettleServerUsageResponse:
        self._db.write(
            lambda connection: move_charges.settle(
                connection, request.server_id, request.migration_id, request.flavor
            )
        )
        return pb.SettleServerUsageResponse()

    # ---- inside

    def _server(self, server_id: str, action: str) -> tuple[Place, Server]:
        """A server that is in a cell, with the groups it is in today."""
        place = self.relay.placed(server_id, action)
        question = server_pb2.GetServerRequest(id=server_id)

        def ask(cell_id: str) -> Server:
            conductor = self._cells.conductor(cell_id)
            found: Server = conductor.call(conductor.servers.GetServer, question).server
            return found

        server = self._places.at(place, ask)
        if server.server_group_ids:
            server.server_group_ids[:] = self._db.read(
                lambda connection: server_groups.of_server(connection, server_id)
            )
        return place, server

    def _new_flavor(self, server: Server, flavor_id: str, caller: RequestContext) -> Flavor:
        """The flavor a server is resized to, if it can be."""
        try:
            flavor = self._db.read(lambda connection: flavors.get(connection, flavor_id, caller))
        except errors.NotFound as error:
            raise errors.InvalidArgument.of(error.message, error.reason, error.facts) from None
        if flavor.disabled:
            raise errors.InvalidArgument(
                f"Flavor {flavor.id} is disabled.", reason="FLAVOR_NOT_FOUND", flavor_id=flavor.id
            )
        if flavor.id == server.flavor.id:
            raise errors.InvalidArgument(
                "When resizing, instances must change flavor!",
                reason="FLAVOR_UNCHANGED",
                server_id=server.id,
                flavor_id=flavor.id,
            )
        images.check_memory(server.image, flavor)
        if not block_devices.boots_from_volume(server.block_devices):
            images.check_local_root(server.image, flavor)
            if flavor.root_gb < server.flavor.root_gb:
                raise errors.InvalidArgument(
                    f"The root disk of flavor {flavor.id} has {flavor.root_gb} GiB, that of the server has "
                    f"{server.flavor.root_gb}: a disk cannot be made smaller.",
                    reason="FLAVOR_TOO_SMALL",
                    flavor_id=flavor.id,
                    resource="root_gb",
                    needed=server.flavor.root_gb,
                    available=flavor.root_gb,
                )
        return flavor

    def _spec(self, server: Server, flavor: Flavor) -> RequestSpec:
        topology = numa.topology(flavor, server.image.properties)
        devices = pci.requests(flavor, server.image.properties, self._aliases)
        spec = request_specs.of_server(server, flavor, topology, devices)
        hint_hosts.fill(spec, self._db, self._cells, float(self._conf.api.cell_timeout))
        return spec

    def _check_host(
        self,
        host: str,
        place: Place,
        server: Server,
        unknown: type[errors.Error] = errors.InvalidArgument,
        *,
        may_leave_cell: bool = False,
    ) -> None:
        """Raises HOST_NOT_FOUND, HOST_UNCHANGED, HOST_IN_OTHER_CELL."""
        found = next(iter(self._hosts.services(host=host, with_missing=True)), None)
        if found is None:
            raise unknown(f"Compute host {host} could not be found.", reason="HOST_NOT_FOUND", host=host)
        if host == server.host:
            raise errors.InvalidArgument(
                f"Server {server.id} is on host {host} already.",
                reason="HOST_UNCHANGED",
                server_id=server.id,
                host=host,
            )
        if found.cell_id != (server.cell_id or place.cell_id) and not may_leave_cell:
            raise errors.InvalidArgument(
                f"Host {host} is in another cell: servers do not move between cells.",
                reason="HOST_IN_OTHER_CELL",
                host=host,
            )

    def _charge(self, place: Place, server: Server, flavor: Flavor, migration_id: str) -> None:
        def write(connection: Connection) -> None:
            limits = self._limits.of(connection, server.project_id, server.user_id)
            move_charges.add(connection, server, flavor, migration_id, limits)
            self._engine.create(
                connection,
                move_charges.KIND,
                migration_id,
                {"cell": server.cell_id or place.cell_id},
                context=contexts.internal("api"),
                delay_seconds=float(self._conf.api.lost_move_seconds),
            )

        self._db.write(write)

    def _marker(self, migration_id: str, caller: RequestContext) -> Migration:
        """Raises MARKER_NOT_FOUND."""
        for found in self._from_cells(conductor_pb.ListMigrationsRequest(id=migration_id)):
            if caller.is_admin or found.project_id == caller.project_id:
                return found
        raise errors.InvalidArgument(
            f"Marker {migration_id} could not be found.", reason="MARKER_NOT_FOUND", marker=migration_id
        )

    def _from_cells(self, question: conductor_pb.ListMigrationsRequest) -> list[Migration]:
        """Of all cells that answer, newest first."""
        if question.filter.server_id:
            return self._of_server(question)
        answers = self._fan_out.ask(
            self._cells.conductors(),
            lambda conductor: conductor.call(
                conductor.migrations.ListMigrations, question, float(self._conf.api.cell_timeout)
            ),
        )
        # One that is switched to another cell just now may be told by both.
        newest = {each.id: each for answer in answers.by_cell.values() for each in answer.migrations}
        found = list(newest.values())
        found.sort(key=lambda each: (each.created_at.ToNanoseconds(), each.id), reverse=True)
        return found

    def _of_server(self, question: conductor_pb.ListMigrationsRequest) -> list[Migration]:
        """Only the server's cell is asked; of a server there is not nothing is told."""
        place = self._db.read(lambda connection: mappings.find(connection, question.filter.server_id))
        if place is None or not place.cell_id:
            return []
        return list(self._ask(place, "ListMigrations", question).migrations)

    def _ask(self, place: Place, method: str, question: Any) -> Any:
        def ask(cell_id: str) -> Any:
            conductor = self._cells.conductor(cell_id)
            return conductor.call(getattr(conductor.migrations, method), question)

        return self._places.at(place, ask)
