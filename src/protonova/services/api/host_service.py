"""HostService: compute services and hypervisors of all cells, and the availability zones they make up."""

from __future__ import annotations

import grpc

from protonova.api.v1 import host_pb2 as pb
from protonova.api.v1 import host_pb2_grpc
from protonova.common.v1.host_pb2 import ComputeService, Hypervisor
from protonova.conductor.v1 import host_pb2 as conductor_pb
from protonova.services.api.aggregates.changes import AggregateChanges
from protonova.services.api.cells import Cells
from protonova.services.api.conductors import Conductor
from protonova.services.api.fan_out import FanOut
from protonova.services.api.hosts import HostDirectory
from protonova.services.runtime import errors

_SUMS = (
    "vcpus",
    "memory_mb",
    "local_gb",
    "vcpus_used",
    "memory_mb_used",
    "local_gb_used",
    "disk_available_least_gb",
    "running_guests",
    "workload",
)


class HostService(host_pb2_grpc.HostServiceServicer):
    def __init__(
        self,
        cells: Cells,
        directory: HostDirectory,
        aggregates: AggregateChanges,
        fan_out: FanOut,
        timeout: float,
    ) -> None:
        self._cells = cells
        self._directory = directory
        self._aggregates = aggregates
        self._fan_out = fan_out
        self._timeout = timeout

    def ListComputeServices(
        self, request: pb.ListComputeServicesRequest, context: grpc.ServicerContext
    ) -> pb.ListComputeServicesResponse:
        found = self._directory.services(request.host, request.binary, with_missing=request.allow_partial)
        return pb.ListComputeServicesResponse(services=found)

    def UpdateComputeService(
        self, request: pb.UpdateComputeServiceRequest, context: grpc.ServicerContext
    ) -> pb.UpdateComputeServiceResponse:
        service = self._find(request.id, 0, request.host, request.binary)
        change = conductor_pb.UpdateComputeServiceRequest(id=service.id, host=service.host)
        for field in ("disabled", "disabled_reason", "forced_down"):
            if request.HasField(field):
                setattr(change, field, getattr(request, field))
        conductor = self._cells.conductor(service.cell_id)
        changed = conductor.call(conductor.hosts.UpdateComputeService, change).service
        changed.cell_id = service.cell_id
        return pb.UpdateComputeServiceResponse(service=self._directory.zoned([changed])[0])

    def DeleteComputeService(
        self, request: pb.DeleteComputeServiceRequest, context: grpc.ServicerContext
    ) -> pb.DeleteComputeServiceResponse:
        service = self._find(request.id, request.number, "", "")
        conductor = self._cells.conductor(service.cell_id)
        conductor.call(
            conductor.hosts.DeleteComputeService, conductor_pb.DeleteComputeServiceRequest(id=service.id)
        )
        self._aggregates.forget_host(service.host)
        return pb.DeleteComputeServiceResponse()

    def ListHypervisors(
        self, request: pb.ListHypervisorsRequest, context: grpc.ServicerContext
    ) -> pb.ListHypervisorsResponse:
        if request.page_size == 0:
            return pb.ListHypervisorsResponse()
        found = self._hypervisors("", request.hostname_pattern, request.with_servers)
        if request.page_token:
            found = found[_position(found, request.page_token) + 1 :]
        if request.page_size > 0:
            found = found[: request.page_size]
        return pb.ListHypervisorsResponse(hypervisors=found)

    def GetHypervisor(
        self, request: pb.GetHypervisorRequest, context: grpc.ServicerContext
    ) -> pb.GetHypervisorResponse:
        found = self._hypervisors(request.id, "", request.with_servers)
        if not request.id:
            found = [hypervisor for hypervisor in found if hypervisor.number == request.number]
        if not found:
            named = request.id or str(request.number)
            raise errors.NotFound(
                f"Hypervisor {named} could not be found.", reason="HYPERVISOR_NOT_FOUND", hypervisor_id=named
            )
        return pb.GetHypervisorResponse(hypervisor=found[0])

    def GetHypervisorStatistics(
        self, request: pb.GetHypervisorStatisticsRequest, context: grpc.ServicerContext
    ) -> pb.GetHypervisorStatisticsResponse:
        response = pb.GetHypervisorStatisticsResponse()
        for hypervisor in self._hypervisors("", "", with_servers=False):
            if hypervisor.service.disabled:
                continue
            response.count += 1
            for field in _SUMS:
                total = getattr(response.totals, field) + getattr(hypervisor, field)
                setattr(response.totals, field, total)
        return response

    def ListAvailabilityZones(
        self, request: pb.ListAvailabilityZonesRequest, context: grpc.ServicerContext
    ) -> pb.ListAvailabilityZonesResponse:
        """A zone is available while one of its hosts may take servers."""
        zones: dict[str, pb.AvailabilityZone] = {}
        for service in self._directory.services():
            zone = zones.setdefault(
                service.availability_zone, pb.AvailabilityZone(name=service.availability_zone)
            )
            zone.available = zone.available or not service.disabled
            if request.with_services:
                zone.services.append(service)
        return pb.ListAvailabilityZonesResponse(zones=[zones[name] for name in sorted(zones)])

    def _find(self, service_id: str, number: int, host: str, binary: str) -> ComputeService:
        """The one service that is meant. Raises COMPUTE_SERVICE_NOT_FOUND, COMPUTE_SERVICE_AMBIGUOUS."""
        found = [
            service
            for service in self._directory.services(host, binary)
            if (not service_id or service.id == service_id) and (not number or service.number == number)
        ]
        named = service_id or host or str(number)
        if len(found) > 1:
            raise errors.InvalidArgument(
                f"Several compute services are meant by {named}.",
                reason="COMPUTE_SERVICE_AMBIGUOUS",
                number=number,
            )
        if not found or not (service_id or number or host):
            raise errors.NotFound(
                f"Compute service {named} could not be found.",
                reason="COMPUTE_SERVICE_NOT_FOUND",
                service_id=service_id,
                host=host,
            )
        return found[0]

    def _hypervisors(self, hypervisor_id: str, pattern: str, with_servers: bool) -> list[Hypervisor]:
        """By number; those of cells that do not answer are left out."""
        request = conductor_pb.ListHypervisorsRequest(
            id=hypervisor_id, hostname_pattern=pattern, with_servers=with_servers
        )

        def ask(conductor: Conductor) -> list[Hypervisor]:
            try:
                answer = conductor.call(conductor.hosts.ListHypervisors, request, self._timeout)
            except errors.NotFound:
                return []
            found: list[Hypervisor] = list(answer.hypervisors)
            for hypervisor in found:
                hypervisor.service.cell_id = conductor.cell_id
            return found

        answers = self._fan_out.ask(self._cells.conductors(), ask)
        found = [hypervisor for some in answers.by_cell.values() for hypervisor in some]
        services = self._directory.zoned([hypervisor.service for hypervisor in found])
        for hypervisor, service in zip(found, services, strict=True):
            hypervisor.service.availability_zone = service.availability_zone
        return sorted(found, key=lambda hypervisor: (hypervisor.number, hypervisor.id))


def _position(hypervisors: list[Hypervisor], marker: str) -> int:
    for index, hypervisor in enumerate(hypervisors):
        if marker in (hypervisor.id, str(hypervisor.number)):
            return index
    raise errors.InvalidArgument(
        f"Marker {marker} could not be found.", reason="MARKER_NOT_FOUND", marker=marker
    )
