"""ServerService: the servers of this cell, as its callers ask for them."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from protonova.compute.v1 import guest_pb2
from protonova.conductor.v1 import server_pb2 as pb
from protonova.services.conductor import actions
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import agent
from protonova.services.conductor.servers import edits
from protonova.services.conductor.servers.watching import ServerWatching
from protonova.services.conductor.service.begin import Beginnings
from protonova.services.conductor.service.history import History
from protonova.services.conductor.service.states import ServerStates
from protonova.services.runtime import context as contexts
from protonova.services.runtime import errors


class ServerServicer(ServerStates):
    def __init__(
        self,
        cell: Cell,
        beginnings: Beginnings,
        history: History,
        watching: ServerWatching,
    ) -> None:
        self._cell = cell
        self._begin = beginnings
        self._history = history
        self._watching = watching

    # ---- life

    def CreateServers(
        self, request: pb.CreateServersRequest, context: grpc.ServicerContext
    ) -> pb.CreateServersResponse:
        self._begin.create(request.builds)
        return pb.CreateServersResponse()

    def DeleteServer(
        self, request: pb.DeleteServerRequest, context: grpc.ServicerContext
    ) -> pb.DeleteServerResponse:
        self._begin.delete(request.id, force=request.force)
        return pb.DeleteServerResponse()

    def StartServer(
        self, request: pb.StartServerRequest, context: grpc.ServicerContext
    ) -> pb.StartServerResponse:
        self._begin.action(actions.START, request.id)
        return pb.StartServerResponse()

    def StopServer(
        self, request: pb.StopServerRequest, context: grpc.ServicerContext
    ) -> pb.StopServerResponse:
        self._begin.action(actions.STOP, request.id)
        return pb.StopServerResponse()

    def RebootServer(
        self, request: pb.RebootServerRequest, context: grpc.ServicerContext
    ) -> pb.RebootServerResponse:
        action = actions.REBOOT_HARD if request.hard else actions.REBOOT_SOFT
        self._begin.action(action, request.id, {"hard": request.hard})
        return pb.RebootServerResponse()

    # ---- reading

    def GetServer(self, request: pb.GetServerRequest, context: grpc.ServicerContext) -> pb.GetServerResponse:
        server = self._cell.listing.get(request.id, include_deleted=request.include_deleted)
        return pb.GetServerResponse(server=server)

    def ListServers(
        self, request: pb.ListServersRequest, context: grpc.ServicerContext
    ) -> pb.ListServersResponse:
        return self._cell.listing.page(request)

    def WatchServers(
        self, request: pb.WatchServersRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchServersResponse]:
        return self._watching.watch(request, context)

    def ListServerActions(
        self, request: pb.ListServerActionsRequest, context: grpc.ServicerContext
    ) -> pb.ListServerActionsResponse:
        return pb.ListServerActionsResponse(actions=self._history.page(request))

    def GetServerAction(
        self, request: pb.GetServerActionRequest, context: grpc.ServicerContext
    ) -> pb.GetServerActionResponse:
        return pb.GetServerActionResponse(action=self._history.get(request))

    def GetConsoleOutput(
        self, request: pb.GetConsoleOutputRequest, context: grpc.ServicerContext
    ) -> pb.GetConsoleOutputResponse:
        cell = self._cell
        server = cell.db.read(lambda connection: cell.servers.get(connection, request.id))
        actions.check(actions.READ_CONSOLE, server, contexts.current())
        guests = agent.guests_on(cell, cell.host(server.host), server.host)
        asked = guest_pb2.GetGuestConsoleOutputRequest(host=server.host, server_id=server.id)
        if request.HasField("length"):
            asked.length = request.length
        try:
            with agent.calling(server.host):
                return pb.GetConsoleOutputResponse(output=guests.GetGuestConsoleOutput(asked).output)
        except errors.NotFound as error:
            raise errors.NotFound(
                f"Server {server.id} has no console output.",
                reason="CONSOLE_UNAVAILABLE",
                server_id=server.id,
            ) from error

    # ---- changes of the record

    def UpdateServer(
        self, request: pb.UpdateServerRequest, context: grpc.ServicerContext
    ) -> pb.UpdateServerResponse:
        edits.update(self._cell.db, self._cell.servers, request, self._history.note)
        server = self._cell.listing.get(request.server.id, include_deleted=False)
        return pb.UpdateServerResponse(server=server)

    def UpdateServerMetadata(
        self, request: pb.UpdateServerMetadataRequest, context: grpc.ServicerContext
    ) -> pb.UpdateServerMetadataResponse:
        metadata = edits.update_metadata(self._cell.db, self._cell.servers, request)
        return pb.UpdateServerMetadataResponse(metadata=metadata)

    def DeleteServerMetadataItem(
        self, request: pb.DeleteServerMetadataItemRequest, context: grpc.ServicerContext
    ) -> pb.DeleteServerMetadataItemResponse:
        edits.delete_metadata_item(self._cell.db, self._cell.servers, request)
        return pb.DeleteServerMetadataItemResponse()

    def UpdateServerTags(
        self, request: pb.UpdateServerTagsRequest, context: grpc.ServicerContext
    ) -> pb.UpdateServerTagsResponse:
        return edits.update_tags(self._cell.db, self._cell.servers, request)
