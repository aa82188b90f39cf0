"""ServerService: servers of the whole region.

Creates them, finds them and hands each call on to the conductor of its cell; what a server's state allows is
decided there. Who may see which server is decided here: one of another project is not found.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
from sqlalchemy import Connection, select

from protonova.api.v1 import server_pb2 as pb
from protonova.api.v1 import server_pb2_grpc
from protonova.common.v1.server_pb2 import Server
from protonova.common.v1.server_query_pb2 import ServerFilter
from protonova.conductor.v1 import server_pb2 as conductor_pb
from protonova.services.api import mappings, server_groups, soft_deletes, wire
from protonova.services.api.actions import BuildActions
from protonova.services.api.building import Building
from protonova.services.api.builds import Deletion
from protonova.services.api.cells import Cells
from protonova.services.api.creation import fields
from protonova.services.api.creation.accept import Acceptor
from protonova.services.api.creation.again import Preparer
from protonova.services.api.dry_run import DryRun
from protonova.services.api.limits import Limits
from protonova.services.api.listing import Listing
from protonova.services.api.mappings import Mappings, Place
from protonova.services.api.partial import Partial
from protonova.services.api.relay import Relay, carried
from protonova.services.api.watching import Watching
from protonova.services.runtime import context as contexts
from protonova.services.runtime import errors
from protonova.services.runtime.database import Database


class ServerService(server_pb2_grpc.ServerServiceServicer):
    def __init__(
        self,
        db: Database,
        cells: Cells,
        places: Mappings,
        limits: Limits,
        acceptor: Acceptor,
        listing: Listing,
        watching: Watching,
        actions: BuildActions,
        dry_run: DryRun,
        preparer: Preparer,
    ) -> None:
        self._preparer = preparer
        self._db = db
        self._cells = cells
        self._places = places
        self.relay = Relay(cells, places)
        self._limits = limits
        self._acceptor = acceptor
        self._listing = listing
        self._watching = watching
        self._actions = actions
        self._dry_run = dry_run
        self._building = Building(db)
        self._partial = Partial(db)

    def CreateServers(
        self, request: pb.CreateServersRequest, context: grpc.ServicerContext
    ) -> pb.CreateServersResponse:
        return self._acceptor.accept(request, contexts.current())

    def GetServer(  # type: ignore[override]  # see add_to_server
        self, request: pb.GetServerRequest, context: grpc.ServicerContext
    ) -> pb.GetServerResponse | bytes:
        place = self._places.locate(request.id)
        if place.building is not None:
            return pb.GetServerResponse(server=self._in_groups(place.building))
        question = conductor_pb.GetServerRequest(id=request.id, include_deleted=request.include_deleted)
        try:
            found = self._places.at(place, lambda cell_id: self._cells.conductor(cell_id).get_raw(question))
        except errors.Unavailable as error:
            if error.reason != "CELL_UNAVAILABLE" or not request.allow_partial:
                raise
            return pb.GetServerResponse(server=self._in_groups(self._partial.get(request.id)))
        if not wire.may_be_grouped(found):
            return found
        return pb.GetServerResponse(server=self._in_groups(pb.GetServerResponse.FromString(found).server))

    def ExplainServers(
        self, request: pb.ExplainServersRequest, context: grpc.ServicerContext
    ) -> pb.ExplainServersResponse:
        if request.WhichOneof("subject") == "create":
            return self._dry_run.of_request(request.create, contexts.current(), request.max_hosts)
        found = self.GetServer(pb.GetServerRequest(id=request.server_id), context)
        answer = pb.GetServerResponse.FromString(found) if isinstance(found, bytes) else found
        return self._dry_run.of_server(answer.server, request.max_hosts)

    def ListServers(  # type: ignore[override]  # see add_to_server
        self, request: pb.ListServersRequest, context: grpc.ServicerContext
    ) -> bytes:
        _keep_to_project(request.filter)
        return self._listing.page(request)

    def UpdateServer(
        self, request: pb.UpdateServerRequest, context: grpc.ServicerContext
    ) -> pb.UpdateServerResponse:
        place = self._places.locate(request.server.id)
        if place.building is not None:
            changed = self._building.update(place.building, request.server, request.update_mask.paths)
            if changed is not None:
                return pb.UpdateServerResponse(server=self._in_groups(changed))
            # It was just being handed to its cell.
            place = self.relay.placed(place.server_id, "update")
        answer = self._ask(
            place,
            "UpdateServer",
            conductor_pb.UpdateServerRequest(server=request.server, update_mask=request.update_mask),
        )
        return pb.UpdateServerResponse(server=self._in_groups(answer.server))

    def DeleteServer(
        self, request: pb.DeleteServerRequest, context: grpc.ServicerContext
    ) -> pb.DeleteServerResponse:
        place = self._places.locate(request.id)
        if place.building is not None:
            if self._building.delete(place.building) is not Deletion.PLACED:
                return pb.DeleteServerResponse()
            place = self._places.locate(request.id)
            if place.building is not None:  # its deletion was noted before
                return pb.DeleteServerResponse()
        self._ask(place, "DeleteServer", conductor_pb.DeleteServerRequest(id=request.id, force=request.force))
        return pb.DeleteServerResponse()

    StartServer = carried("start")
    StopServer = carried("stop")
    RebootServer = carried("reboot")
    PauseServer = carried("pause")
    UnpauseServer = carried("unpause")
    SuspendServer = carried("suspend")
    ResumeServer = carried("resume")
    TriggerCrashDump = carried("trigger_crash_dump")
    ResetServerState = carried("resetState")
    InjectNetworkInfo = carried("injectNetworkInfo")
    GetServerDiagnostics = carried("diagnostics")
    ChangeServerPassword = carried("changePassword")

    UnrescueServer = carried("unrescue")

    def RescueServer(
        self, request: pb.RescueServerRequest, context: grpc.ServicerContext
    ) -> pb.RescueServerResponse:
        place = self.relay.placed(request.id, "rescue")
        asked = self._preparer.rescue(request, self._of_cell(place), contexts.current())
        self._ask(place, "RescueServer", asked)
        return pb.RescueServerResponse(admin_password=self._preparer.told(asked.admin_password))

    def RebuildServer(
        self, request: pb.RebuildServerRequest, context: grpc.ServicerContext
    ) -> pb.RebuildServerResponse:
        place = self.relay.placed(request.id, "rebuild")
        asked = self._preparer.rebuild(request, self._of_cell(place), contexts.current())
        answer = self._ask(place, "RebuildServer", asked)
        return pb.RebuildServerResponse(
            server=self._in_groups(answer.server),
            admin_password=self._preparer.told(asked.admin_password),
        )

    def RestoreServer(
        self, request: pb.RestoreServerRequest, context: grpc.ServicerContext
    ) -> pb.RestoreServerResponse:
        """The cell takes the quota when it restores; whether there is enough is said here, while somebody waits."""
        place = self.relay.placed(request.id, "restore")
        self._db.read(lambda connection: soft_deletes.check(connection, self._limits, place.server_id))
        self._ask(place, "RestoreServer", conductor_pb.RestoreServerRequest(id=request.id))
        return pb.RestoreServerResponse()

    def GetConsoleOutput(
        self, request: pb.GetConsoleOutputRequest, context: grpc.ServicerContext
    ) -> pb.GetConsoleOutputResponse:
        place = self._places.locate(request.id)
        if place.building is not None:
            raise errors.FailedPrecondition(
                f"Instance {request.id} is not ready.", reason="HOST_NOT_READY", server_id=request.id
            )
        question = conductor_pb.GetConsoleOutputRequest(id=request.id)
        if request.HasField("length"):
            question.length = request.length
        answer = self._ask(place, "GetConsoleOutput", question)
        return pb.GetConsoleOutputResponse(output=answer.output)

    def UpdateServerMetadata(
        self, request: pb.UpdateServerMetadataRequest, context: grpc.ServicerContext
    ) -> pb.UpdateServerMetadataResponse:
        place = self.relay.placed(request.id, "update metadata")
        limits, _ = self._db.read(lambda connection: self._limits.of(connection, place.project_id))
        fields.metadata(request.metadata, limits)
        question = conductor_pb.UpdateServerMetadataRequest(
            id=request.id,
            metadata=request.metadata,
            replace=request.replace,
            max_items=max(0, limits["metadata_items"]),
        )
        answer = self._ask(place, "UpdateServerMetadata", question)
        return pb.UpdateServerMetadataResponse(metadata=answer.metadata)

    DeleteServerMetadataItem = carried("delete metadata")
    UpdateServerTags = carried("update tags")

    def ListServerActions(
        self, request: pb.ListServerActionsRequest, context: grpc.ServicerContext
    ) -> pb.ListServerActionsResponse:
        place = self._places.locate(request.server_id, include_gone=request.include_deleted)
        if not place.cell_id:
            return pb.ListServerActionsResponse(actions=self._actions.listing(place, request))
        question = conductor_pb.ListServerActionsRequest(
            server_id=request.server_id,
            include_deleted=request.include_deleted,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        for field in ("changed_since", "changed_before"):
            if request.HasField(field):
                getattr(question, field).CopyFrom(getattr(request, field))
        return pb.ListServerActionsResponse(actions=self._ask(place, "ListServerActions", question).actions)

    def GetServerAction(
        self, request: pb.GetServerActionRequest, context: grpc.ServicerContext
    ) -> pb.GetServerActionResponse:
        place = self._places.locate(request.server_id, include_gone=request.include_deleted)
        if not place.cell_id:
            return pb.GetServerActionResponse(action=self._actions.get(place, request.request_id))
        question = conductor_pb.GetServerActionRequest(
            server_id=request.server_id,
            request_id=request.request_id,
            include_deleted=request.include_deleted,
        )
        return pb.GetServerActionResponse(action=self._ask(place, "GetServerAction", question).action)

    def WatchServers(
        self, request: pb.WatchServersRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchServersResponse]:
        _keep_to_project(request.filter)
        return self._watching.watch(request, context)

    def ReleaseServers(
        self, request: pb.ReleaseServersRequest, context: grpc.ServicerContext
    ) -> pb.ReleaseServersResponse:
        def release(connection: Connection) -> None:
            now = connection.execute(select(self._db.now())).scalar_one()
            ended = mappings.release(connection, request.server_ids, now)
            mappings.publish_builds(connection, ended, deleted=True)

        self._db.write(release)
        return pb.ReleaseServersResponse()

    def ChargeServerQuota(
        self, request: pb.ChargeServerQuotaRequest, context: grpc.ServicerContext
    ) -> pb.ChargeServerQuotaResponse:
        def charge(connection: Connection) -> None:
            soft_deletes.charge(connection, self._limits, request.id, beyond_limits=request.beyond_limits)

        self._db.write(charge)
        return pb.ChargeServerQuotaResponse()

    def ReturnServerQuota(
        self, request: pb.ReturnServerQuotaRequest, context: grpc.ServicerContext
    ) -> pb.ReturnServerQuotaResponse:
        self._db.write(lambda connection: soft_deletes.give_back(connection, request.id))
        return pb.ReturnServerQuotaResponse()

    def _in_groups(self, server: Server) -> Server:
        """The server with the groups it is in today: those it was put into may be gone."""
        if server.server_group_ids:
            server.server_group_ids[:] = self._db.read(
                lambda connection: server_groups.of_server(connection, server.id)
            )
        return server

    def _of_cell(self, place: Place) -> Server:
        """A server as its cell has it. Raises SERVER_NOT_FOUND."""
        question = conductor_pb.GetServerRequest(id=place.server_id)
        server: Server = self._ask(place, "GetServer", question).server
        return server

    def _ask(self, place: Place, method: str, question: Any) -> Any:
        def ask(cell_id: str) -> Any:
            conductor = self._cells.conductor(cell_id)
            return conductor.call(getattr(conductor.servers, method), question)

        return self._places.at(place, ask)


def _keep_to_project(wanted: ServerFilter) -> None:
    """Bounds a filter by the caller's project, unless the caller is an administrator."""
    caller = contexts.current()
    if caller.is_admin:
        return
    if not caller.project_id:
        raise errors.PermissionDenied("The caller has no project.", reason="PROJECT_MISSING")
    wanted.project_id = caller.project_id


def add_to_server(servicer: ServerService, server: Any) -> None:
    """Registers the service; its two hot reads may answer with bytes that came from a cell."""
    server_pb2_grpc.add_ServerServiceServicer_to_server(servicer, _PassingBytes(server))


class _PassingBytes:
    """Stands where generated code expects a server, and lets some methods answer with serialized messages."""

    _METHODS = ("GetServer", "ListServers")

    def __init__(self, server: Any) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        for method in self._METHODS:
            handlers[method] = handlers[method]._replace(response_serializer=wire.passthrough)
        self._server.add_registered_method_handlers(service, handlers)
