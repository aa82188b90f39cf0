"""ServerImageService: images made of servers, and shelving. What unshelving refers to is checked here."""

from __future__ import annotations

import grpc

from protonova.api.v1 import server_image_pb2 as pb
from protonova.api.v1 import server_image_pb2_grpc
from protonova.common.v1.server_pb2 import Server, VmState
from protonova.conductor.v1 import server_image_pb2 as conductor_pb
from protonova.conductor.v1 import server_pb2
from protonova.scheduler.v1.scheduler_pb2 import RequestSpec
from protonova.services.api import hint_hosts, request_specs, server_groups
from protonova.services.api.cells import Cells
from protonova.services.api.hosts import HostDirectory
from protonova.services.api.mappings import Place
from protonova.services.api.relay import Relay, carried
from protonova.services.runtime import errors
from protonova.services.runtime.config import Conf
from protonova.services.runtime.database import Database


class ServerImageService(server_image_pb2_grpc.ServerImageServiceServicer):
    def __init__(self, conf: Conf, db: Database, cells: Cells, hosts: HostDirectory, relay: Relay) -> None:
        self._db = db
        self._cells = cells
        self._hosts = hosts
        self._patience = float(conf.api.cell_timeout)
        self.relay = relay

    CreateServerImage = carried("createImage")
    CreateServerBackup = carried("createBackup")
    ShelveServer = carried("shelve")
    OffloadServer = carried("shelveOffload")

    def UnshelveServer(
        self, request: pb.UnshelveServerRequest, context: grpc.ServicerContext
    ) -> pb.UnshelveServerResponse:
        place = self.relay.placed(request.id, "unshelve")
        question = server_pb2.GetServerRequest(id=request.id)
        answer = self.relay.ask(place, "ServerService", "GetServer", question)
        server = server_pb2.GetServerResponse.FromString(answer).server
        if server.vm_state == VmState.VM_STATE_SHELVED and (request.availability_zone or request.host):
            raise errors.FailedPrecondition(
                f"Server {server.id} has not left its host: no other place can be asked for.",
                reason="SERVER_ON_HOST",
                server_id=server.id,
            )
        wanted = conductor_pb.UnshelveServerRequest(id=request.id, spec=self._spec(request, server, place))
        if request.HasField("availability_zone"):
            wanted.pinned_availability_zone = request.availability_zone
        self.relay.ask(place, "ServerImageService", "UnshelveServer", wanted)
        return pb.UnshelveServerResponse()

    def _spec(self, request: pb.UnshelveServerRequest, server: Server, place: Place) -> RequestSpec:
        server.server_group_ids[:] = self._db.read(
            lambda connection: server_groups.of_server(connection, server.id)
        )
        topology = server.numa_topology if server.HasField("numa_topology") else None
        spec = request_specs.of_server(server, server.flavor, topology)
        spec.cell_id = place.cell_id
        if request.HasField("availability_zone"):
            spec.availability_zone = request.availability_zone
            self._check_zone(request.availability_zone)
        if request.host:
            spec.host = request.host
            self._check_host(request.host, spec.availability_zone)
        hint_hosts.fill(spec, self._db, self._cells, self._patience)
        return spec

    def _check_zone(self, zone: str) -> None:
        if zone and not self._hosts.knows_zone(zone):
            raise errors.InvalidArgument(
                f"The requested availability zone '{zone}' is not available.",
                reason="ZONE_NOT_FOUND",
                zone=zone,
            )

    def _check_host(self, host: str, zone: str) -> None:
        found = self._hosts.services(host=host)
        if not found:
            raise errors.InvalidArgument(
                f"Compute host {host} could not be found.", reason="HOST_NOT_FOUND", host=host
            )
        if zone and zone not in {service.availability_zone for service in found}:
            raise errors.FailedPrecondition(
                f"Host {host} is not in availability zone '{zone}'.",
                reason="HOST_NOT_IN_ZONE",
                host=host,
                zone=zone,
            )
