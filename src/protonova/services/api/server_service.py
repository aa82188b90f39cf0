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
from protonova.common.v1.server_query_pb2 import ServerFilter
from protonova.conductor.v1 import server_pb2 as conductor_pb
from protonova.services.api import building, mappings, wire
from protonova.services.api.actions import BuildActions
from protonova.services.api.building import Building
from protonova.services.api.builds import Deletion
from protonova.services.api.cells import Cells
from protonova.services.api.creation import fields
from protonova.services.api.creation.accept import Acceptor
from protonova.services.api.limits import Limits
from protonova.services.api.listing import Listing
from protonova.services.api.mappings import Mappings, Place
from protonova.services.api.partial import Partial
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
    ) -> None:
        self._db = db
        self._cells = cells
        self._places = places
        self._limits = limits
        self._acceptor = acceptor
        self._listing = listing
        self._watching = watching
        self._actions = actions
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
            return pb.GetServerResponse(server=place.building)
        question = conductor_pb.GetServerRequest(id=request.id, include_deleted=request.include_deleted)
        try:
            return self._cells.conductor(place.cell_id).get_raw(question)
        except errors.Unavailable as error:
            if error.reason != "CELL_UNAVAILABLE" or not request.allow_partial:
                raise
            return pb.GetServerResponse(server=self._partial.get(request.id))

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
                return pb.UpdateServerResponse(server=changed)
            # It was just being handed to its cell.
            place = self._placed(place.server_id, "update")
        answer = self._ask(
            place,
            "UpdateServer",
            conductor_pb.UpdateServerRequest(server=request.server, update_mask=request.update_mask),
        )
        return pb.UpdateServerResponse(server=answer.server)

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

    def StartServer(
        self, request: pb.StartServerRequest, context: grpc.ServicerContext
    ) -> pb.StartServerResponse:
        self._act(request.id, "start", "StartServer", conductor_pb.StartServerRequest(id=request.id))
        return pb.StartServerResponse()

    def StopServer(
        self, request: pb.StopServerRequest, context: grpc.ServicerContext
    ) -> pb.StopServerResponse:
        self._act(request.id, "stop", "StopServer", conductor_pb.StopServerRequest(id=request.id))
        return pb.StopServerResponse()

    def RebootServer(
        self, request: pb.RebootServerRequest, context: grpc.ServicerContext
    ) -> pb.RebootServerResponse:
        question = conductor_pb.RebootServerRequest(id=request.id, hard=request.hard)
        self._act(request.id, "reboot", "RebootServer", question)
        return pb.RebootServerResponse()

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
        place = self._placed(request.id, "update metadata")
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

    def DeleteServerMetadataItem(
        self, request: pb.DeleteServerMetadataItemRequest, context: grpc.ServicerContext
    ) -> pb.DeleteServerMetadataItemResponse:
        question = conductor_pb.DeleteServerMetadataItemRequest(id=request.id, key=request.key)
        self._act(request.id, "delete metadata", "DeleteServerMetadataItem", question)
        return pb.DeleteServerMetadataItemResponse()

    def UpdateServerTags(
        self, request: pb.UpdateServerTagsRequest, context: grpc.ServicerContext
    ) -> pb.UpdateServerTagsResponse:
        question = conductor_pb.UpdateServerTagsRequest(
            id=request.id, replace=request.replace, add=request.add, remove=request.remove
        )
        answer = self._act(request.id, "update tags", "UpdateServerTags", question)
        return pb.UpdateServerTagsResponse(tags=answer.tags, added=answer.added)

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

    def _act(self, server_id: str, action: str, method: str, question: Any) -> Any:
        """Hands a call on to the server's cell."""
        return self._ask(self._placed(server_id, action), method, question)

    def _placed(self, server_id: str, action: str) -> Place:
        """Where a server is that must be in a cell. Raises SERVER_NOT_FOUND, SERVER_STATE."""
        place = self._places.locate(server_id)
        if place.building is not None:
            raise building.refused(place.building, action)
        return place

    def _ask(self, place: Place, method: str, question: Any) -> Any:
        conductor = self._cells.conductor(place.cell_id)
        return conductor.call(getattr(conductor.servers, method), question)


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
