"""The beginning of moves and of their ends: the migration's row, the task state and the operation are one
transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import Connection

from protonova.common.v1.migration_pb2 import Migration, MigrationStatus, MigrationType
from protonova.common.v1.server_pb2 import Server, VmState
from protonova.conductor.v1 import migration_pb2 as pb
from protonova.conductor.v1.server_pb2 import ServerBuild
from protonova.scheduler.v1.scheduler_pb2 import RequestSpec
from protonova.services.conductor import actions
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.moves import status, store
from protonova.services.conductor.operations import build as building
from protonova.services.conductor.operations.image import described
from protonova.services.conductor.operations.moves import destination, live
from protonova.services.conductor.operations.moves import evacuate as evacuation
from protonova.services.conductor.operations.rebuild import boot_volume
from protonova.services.conductor.service.begin import Beginnings
from protonova.services.conductor.service.history import History
from protonova.services.runtime import context, errors

ACCEPTED = MigrationStatus.MIGRATION_STATUS_ACCEPTED


class Moves:
    def __init__(self, cell: Cell, beginnings: Beginnings, history: History) -> None:
        self._cell = cell
        self._begin = beginnings
        self._history = history

    def cold(self, request: pb.MoveServerRequest) -> None:
        resize = request.type == MigrationType.MIGRATION_TYPE_RESIZE
        if self._known(request.migration_id):
            return

        def begin(connection: Connection, server: Server) -> Mapping[str, Any]:
            spec = self._spec(request.spec, server)
            image = None
            if request.may_leave_cell and _can_leave_cell(server, spec):
                spec.cell_id, spec.source_cell_id = "", self._cell.id
                image = self._carried_as(server)
            if not self._cell.conf.allow_resize_to_same_host:
                spec.ignore_hosts.append(server.host)
            migration = self._insert(connection, server, request.migration_id, request.type, spec)
            given = request.auto_disk_config if request.HasField("auto_disk_config") else None
            charged = migration.old_flavor.id != migration.new_flavor.id
            return destination.payload(migration, spec, auto_disk_config=given, charged=charged, image=image)

        action = actions.RESIZE if resize else actions.MIGRATE
        self._begin.action(action, request.server_id, begin)

    def confirm(self, server_id: str) -> None:
        """Raises MIGRATION_NOT_FOUND, HOST_NOT_READY."""

        def begin(connection: Connection, server: Server) -> Mapping[str, Any]:
            migration = store.finished(connection, server.id)
            if not migration.other_cell_id and not self._cell.host_is_up(connection, migration.source_host):
                raise errors.FailedPrecondition(
                    f"Host {migration.source_host}, which keeps what the server was, is down.",
                    reason="HOST_NOT_READY",
                    server_id=server.id,
                    host=migration.source_host,
                )
            store.set_status(connection, migration.id, MigrationStatus.MIGRATION_STATUS_CONFIRMING)
            return {"migration": migration.id}

        self._begin.action(actions.CONFIRM_RESIZE, server_id, begin)

    def revert(self, server_id: str) -> None:
        """Raises MIGRATION_NOT_FOUND."""

        def begin(connection: Connection, server: Server) -> Mapping[str, Any]:
            migration = store.finished(connection, server.id)
            store.set_status(connection, migration.id, MigrationStatus.MIGRATION_STATUS_REVERTING)
            return {"migration": migration.id, "other_cell": migration.other_cell_id}

        self._begin.action(actions.REVERT_RESIZE, server_id, begin)

    def live(self, request: pb.LiveMigrateServerRequest) -> None:
        """Raises MIGRATION_CHECK_FAILED."""
        if self._known(request.migration_id):
            return
        if request.check_first and request.spec.host:
            self._check_live(request)

        def begin(connection: Connection, server: Server) -> Mapping[str, Any]:
            if server.pci_devices:
                raise errors.FailedPrecondition(
                    f"Server {server.id} has devices of its host, which it cannot leave while it runs.",
                    reason="MIGRATION_CHECK_FAILED",
                    server_id=server.id,
                )
            spec = self._spec(request.spec, server)
            spec.ignore_hosts.append(server.host)
            kind = MigrationType.MIGRATION_TYPE_LIVE_MIGRATION
            migration = self._insert(connection, server, request.migration_id, kind, spec)
            return destination.payload(migration, spec, block_migration=int(request.block_migration))

        self._begin.action(actions.LIVE_MIGRATE, request.server_id, begin)

    def evacuate(self, request: pb.EvacuateServerRequest) -> None:
        """Raises HOST_IS_UP."""
        if self._known(request.migration_id):
            return

        def begin(connection: Connection, server: Server) -> Mapping[str, Any]:
            if self._cell.host_is_up(connection, server.host):
                raise errors.FailedPrecondition(
                    f"Host {server.host} of server {server.id} is up: the server can be moved without harm.",
                    reason="HOST_IS_UP",
                    server_id=server.id,
                    host=server.host,
                )
            spec = self._spec(request.spec, server)
            spec.ignore_hosts.append(server.host)
            kind = MigrationType.MIGRATION_TYPE_EVACUATION
            migration = self._insert(connection, server, request.migration_id, kind, spec)
            building.forget(connection, server.id)
            building.keep(connection, [ServerBuild(server=server, admin_password=request.admin_password)])
            stop = request.stop or server.vm_state == VmState.VM_STATE_STOPPED
            shared = request.on_shared_storage if request.HasField("on_shared_storage") else None
            return destination.payload(migration, spec, stop=stop, shared=shared)

        self._begin.action(actions.EVACUATE, request.server_id, begin)

    def abort(self, request: pb.AbortMigrationRequest) -> None:
        """Raises MIGRATION_NOT_FOUND, MIGRATION_STATE."""
        allowed = {MigrationStatus.MIGRATION_STATUS_RUNNING}
        if request.before_it_runs:
            allowed |= {
                ACCEPTED,
                MigrationStatus.MIGRATION_STATUS_QUEUED,
                MigrationStatus.MIGRATION_STATUS_PREPARING,
            }
        self._ask(actions.ABORT_MIGRATION, request.server_id, request.number, allowed, abort=True)

    def force(self, request: pb.ForceCompleteMigrationRequest) -> None:
        """Raises MIGRATION_NOT_FOUND, MIGRATION_STATE."""
        allowed = {MigrationStatus.MIGRATION_STATUS_RUNNING}
        self._ask(actions.FORCE_COMPLETE, request.server_id, request.number, allowed, force=True)

    def leftovers(self, request: pb.ListLeftoversRequest) -> pb.ListLeftoversResponse:
        """What an agent that looks around on its host may remove, or put back."""
        answer = pb.ListLeftoversResponse()

        def read(connection: Connection) -> None:
            answer.Clear()
            for migration in store.left_behind(connection, request.host):
                lives_here = self._host_of(connection, migration.server_id) == request.host
                answer.evacuated.add(
                    migration_id=migration.id, server_id=migration.server_id, guest_is_gone=lives_here
                )
            for kept in request.set_aside:
                verdict = self._verdict(connection, request.host, kept)
                if verdict is not None:
                    getattr(answer, verdict).append(kept)

        self._cell.db.read(read)
        return answer

    def complete_evacuation(self, request: pb.CompleteEvacuationRequest) -> None:
        """Raises MIGRATION_NOT_FOUND."""
        migration = self._cell.db.read(lambda connection: store.get(connection, request.migration_id))
        if migration.source_host == request.host:
            evacuation.complete(self._cell, migration)

    def _verdict(self, connection: Connection, host: str, kept: pb.SetAside) -> str | None:
        """What becomes of something set aside: nothing while its move is under way."""
        if store.with_status(connection, kept.server_id, status.UNDER_WAY):
            return None
        lives_at = self._host_of(connection, kept.server_id)
        if lives_at is None:
            return "discard"
        failed = any(
            each.id == kept.label
            for each in store.with_status(
                connection, kept.server_id, {MigrationStatus.MIGRATION_STATUS_ERROR}
            )
        )
        return "put_back" if lives_at == host and failed else "discard"

    def _ip_of(self, connection: Connection, host: str) -> str:
        known = self._cell.hosts.get(connection, host)
        return known.report.host_ip if known else ""

    def _host_of(self, connection: Connection, server_id: str) -> str | None:
        """None for a server that is gone."""
        try:
            return self._cell.servers.get(connection, server_id).host
        except errors.NotFound:
            return None

    def _check_live(self, request: pb.LiveMigrateServerRequest) -> None:
        """Asks the host that is named, before anything is begun. What the server's state says comes first."""
        cell, ctx = self._cell, context.current()
        server = cell.db.read(lambda connection: cell.servers.get(connection, request.server_id))
        actions.check(actions.LIVE_MIGRATE, server, ctx)
        wanted = Server()
        wanted.CopyFrom(server)
        wanted.ClearField("numa_topology")
        if request.spec.HasField("numa_topology"):
            wanted.numa_topology.CopyFrom(request.spec.numa_topology)
        try:
            live.prepare(
                cell, wanted, server.host, request.spec.host, int(request.block_migration), check_only=True
            )
        except errors.Error as error:
            raise errors.FailedPrecondition(
                f"Server {server.id} cannot be migrated to host {request.spec.host}: {error.message}",
                reason="MIGRATION_CHECK_FAILED",
                server_id=server.id,
                host=request.spec.host,
            ) from error

    def _ask(
        self,
        action: actions.Action,
        server_id: str,
        number: int,
        allowed: set[MigrationStatus.ValueType],
        **asked: bool,
    ) -> None:
        """Notes a wish in the migration's row, where its operation looks for it."""
        ctx = context.current()

        def write(connection: Connection) -> None:
            server = self._cell.servers.get(connection, server_id)
            actions.check(action, server, ctx)
            migration = store.of_server(connection, server_id, number)
            if migration.type != status.LIVE or migration.status not in allowed:
                raise errors.FailedPrecondition(
                    f"Migration {number} of server {server_id} is {status.status_name(migration.status)}.",
                    reason="MIGRATION_STATE",
                    server_id=server_id,
                    migration_id=number,
                    status=status.status_name(migration.status),
                )
            store.ask(connection, migration.id, **asked)
            self._history.note(connection, server, action.name)

        self._cell.db.write(write)

    def _known(self, migration_id: str) -> bool:
        """A repeat of a call that was not heard."""
        return self._cell.db.read(lambda connection: store.exists(connection, migration_id))

    def _spec(self, given: RequestSpec, server: Server) -> RequestSpec:
        """What is asked of the destination, with what only the cell knows."""
        spec = RequestSpec()
        spec.CopyFrom(given)
        spec.cell_id = self._cell.id
        return spec

    def _carried_as(self, server: Server) -> dict[str, Any] | None:
        """The image its root disk goes to another cell as; None when that is a volume."""
        if boot_volume(server) is not None:
            return None
        name = f"{server.name}-resize-temp"
        return described(self._cell.conf, server, name=name, owner=server.project_id, image_type="snapshot")

    def _insert(
        self,
        connection: Connection,
        server: Server,
        migration_id: str,
        kind: MigrationType.ValueType,
        spec: RequestSpec,
    ) -> Migration:
        return store.insert(
            connection,
            Migration(
                id=migration_id,
                server_id=server.id,
                type=kind,
                status=ACCEPTED,
                source_host=server.host,
                source_node=server.node,
                source_availability_zone=server.availability_zone,
                source_ip=self._ip_of(connection, server.host),
                old_flavor=server.flavor,
                old_pci_requests=server.pci_requests,
                new_flavor=spec.flavor,
                project_id=server.project_id,
                user_id=context.current().user_id,
                was_running=server.vm_state == VmState.VM_STATE_ACTIVE,
                cell_id=self._cell.id,
            ),
        )


def _can_leave_cell(server: Server, spec: RequestSpec) -> bool:
    """Of what is on the host, only the root disk goes along: a server with ephemeral disks stays in its cell, as
    does one with a TPM."""
    flavors = (server.flavor, spec.flavor)
    tpm = any(key.startswith("hw:tpm") for flavor in flavors for key in flavor.extra_specs)
    local = any(flavor.ephemeral_gb for flavor in flavors)
    return not (local or tpm or any(key.startswith("hw_tpm") for key in server.image.properties))
