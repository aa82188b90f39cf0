"""HostService: agents report here, operators steer hosts, the scheduler watches them."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
from sqlalchemy.engine import Connection

from protonova.conductor.v1 import host_pb2 as pb
from protonova.conductor.v1 import host_pb2_grpc
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.hosts import guests, services
from protonova.services.conductor.hosts.watching import HostWatching
from protonova.services.conductor.operations import prefetch
from protonova.services.conductor.service.following import Following
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Engine


class HostServicer(host_pb2_grpc.HostServiceServicer):
    def __init__(self, cell: Cell, engine: Engine, watching: HostWatching, following: Following) -> None:
        self._following = following
        self._cell = cell
        self._engine = engine
        self._watching = watching

    def ReportHosts(
        self, request: pb.ReportHostsRequest, context: grpc.ServicerContext
    ) -> pb.ReportHostsResponse:
        hosts = self._cell.hosts

        def take(connection: Connection) -> pb.ReportHostsResponse:
            hosts.take(connection, request.hosts)
            unknown = hosts.beat(connection, request.unchanged_hosts)
            identities = hosts.identities(connection, [report.host for report in request.hosts])
            return pb.ReportHostsResponse(unknown_hosts=unknown, identities=identities)

        return self._cell.db.write(take)

    def ReportGuests(
        self, request: pb.ReportGuestsRequest, context: grpc.ServicerContext
    ) -> pb.ReportGuestsResponse:
        following = self._following
        taken = guests.take_reports(self._cell.db, request, following.follow, following.keep_off)
        return pb.ReportGuestsResponse(unknown_server_ids=taken.unknown, unsettled_server_ids=taken.unsettled)

    def ListComputeServices(
        self, request: pb.ListComputeServicesRequest, context: grpc.ServicerContext
    ) -> pb.ListComputeServicesResponse:
        return pb.ListComputeServicesResponse(services=services.list_services(self._cell.hosts, request))

    def UpdateComputeService(
        self, request: pb.UpdateComputeServiceRequest, context: grpc.ServicerContext
    ) -> pb.UpdateComputeServiceResponse:
        return pb.UpdateComputeServiceResponse(service=services.update_service(self._cell.hosts, request))

    def DeleteComputeService(
        self, request: pb.DeleteComputeServiceRequest, context: grpc.ServicerContext
    ) -> pb.DeleteComputeServiceResponse:
        services.delete_service(self._cell.hosts, request.id)
        return pb.DeleteComputeServiceResponse()

    def ListHypervisors(
        self, request: pb.ListHypervisorsRequest, context: grpc.ServicerContext
    ) -> pb.ListHypervisorsResponse:
        found = services.list_hypervisors(self._cell.hosts, self._cell.servers, request)
        return pb.ListHypervisorsResponse(hypervisors=found)

    def PrefetchImages(
        self, request: pb.PrefetchImagesRequest, context: grpc.ServicerContext
    ) -> pb.PrefetchImagesResponse:
        for field in ("id", "hosts", "images"):
            if not getattr(request, field):
                raise errors.InvalidArgument(
                    f"A prefetch needs its {field}.", reason="PREFETCH_INVALID", field=field
                )
        prefetch.begin(self._cell, self._engine, request)
        return pb.PrefetchImagesResponse()

    def WatchHosts(
        self, request: pb.WatchHostsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchHostsResponse]:
        return self._watching.watch(request, context)
