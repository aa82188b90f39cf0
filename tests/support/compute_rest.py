"""Key pairs, quotas, hosts, server groups and aggregates of the api service's contract, kept in memory."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from protonova.api.v1 import (
    aggregate_pb2,
    aggregate_pb2_grpc,
    host_pb2,
    host_pb2_grpc,
    keypair_pb2,
    keypair_pb2_grpc,
    quota_pb2,
    quota_pb2_grpc,
    server_group_pb2,
    server_group_pb2_grpc,
)
from protonova.common.v1 import host_pb2 as common
from protonova.services.runtime import context, errors

LIMITS = {
    "instances": 10,
    "cores": 20,
    "ram": 51200,
    "metadata_items": 128,
    "key_pairs": 100,
    "server_groups": 10,
    "server_group_members": 10,
    "injected_files": 5,
    "injected_file_content_bytes": 10240,
    "injected_file_path_bytes": 255,
}


class Keypairs(keypair_pb2_grpc.KeypairServiceServicer):
    def __init__(self) -> None:
        self.keypairs: dict[tuple[str, str], keypair_pb2.Keypair] = {}

    def CreateKeypair(self, request, _):
        key = (request.user_id, request.name)
        if key in self.keypairs:
            raise errors.AlreadyExists("There is such a key pair.", "KEYPAIR_EXISTS", name=request.name)
        if request.public_key and not request.public_key.startswith(("ssh-", "ecdsa-")):
            raise errors.InvalidArgument("This is no public key.", "KEYPAIR_INVALID", field="public_key")
        keypair = keypair_pb2.Keypair(
            number=len(self.keypairs) + 1,
            user_id=request.user_id,
            name=request.name,
            type=request.type,
            public_key=request.public_key or "ssh-rsa AAAA",
            fingerprint="aa:bb",
            created_at=Timestamp(seconds=1_700_000_000, nanos=123000),
        )
        self.keypairs[key] = keypair
        private = "" if request.public_key else "-----BEGIN"
        return keypair_pb2.CreateKeypairResponse(keypair=keypair, private_key=private)

    def _find(self, request):
        try:
            return self.keypairs[request.user_id, request.name]
        except KeyError:
            raise errors.NotFound("There is no such key pair.", "KEYPAIR_NOT_FOUND") from None

    def GetKeypair(self, request, _):
        return keypair_pb2.GetKeypairResponse(keypair=self._find(request))

    def ListKeypairs(self, request, _):
        found = [pair for (user, _name), pair in sorted(self.keypairs.items()) if user == request.user_id]
        if request.page_token:
            names = [pair.name for pair in found]
            if request.page_token not in names:
                raise errors.InvalidArgument("There is no such marker.", "MARKER_NOT_FOUND")
            found = found[names.index(request.page_token) + 1 :]
        if request.page_size:
            found = found[: request.page_size]
        return keypair_pb2.ListKeypairsResponse(keypairs=found)

    def DeleteKeypair(self, request, _):
        self._find(request)
        del self.keypairs[request.user_id, request.name]
        return keypair_pb2.DeleteKeypairResponse()


class Quotas(quota_pb2_grpc.QuotaServiceServicer):
    def __init__(self) -> None:
        self.limits: dict[str, dict[str, int]] = {}
        self.used: dict[str, int] = {"instances": 2, "cores": 4}
        self.requests: list[Any] = []

    def _lines(self, project_id: str) -> list[quota_pb2.QuotaLine]:
        limits = {**LIMITS, **self.limits.get(project_id, {})}
        return [
            quota_pb2.QuotaLine(resource=name, limit=limit, used=self.used.get(name, 0))
            for name, limit in limits.items()
        ]

    def GetQuota(self, request, _):
        self.requests.append(request)
        return quota_pb2.GetQuotaResponse(lines=self._lines("" if request.defaults else request.project_id))

    def UpdateQuota(self, request, _):
        self.requests.append(request)
        for name, limit in request.limits.items():
            if 0 <= limit < self.used.get(name, 0) and not request.force:
                raise errors.InvalidArgument("Less than is used.", "QUOTA_INVALID", resource=name)
        self.limits.setdefault(request.project_id, {}).update(request.limits)
        return quota_pb2.UpdateQuotaResponse(lines=self._lines(request.project_id))

    def DeleteQuota(self, request, _):
        self.limits.pop(request.project_id, None)
        return quota_pb2.DeleteQuotaResponse()

    def GetQuotaClass(self, _request, _):
        return quota_pb2.GetQuotaClassResponse(limits=LIMITS)

    def UpdateQuotaClass(self, request, _):
        return quota_pb2.UpdateQuotaClassResponse(limits={**LIMITS, **request.limits})


class Hosts(host_pb2_grpc.HostServiceServicer):
    def __init__(self) -> None:
        self.services: list[common.ComputeService] = []
        self.hypervisors: list[common.Hypervisor] = []
        self.requests: list[Any] = []

    def put(self, host: str, **fields: Any) -> common.ComputeService:
        number = len(self.services) + 1
        service = common.ComputeService(
            id=f"00000000-0000-0000-0000-0000000000a{number}",
            number=number,
            host=host,
            binary="nova-compute",
            availability_zone="nova",
            up=True,
            updated_at=Timestamp(seconds=1_700_000_000),
        )
        for name, value in fields.items():
            setattr(service, name, value)
        self.services.append(service)
        hypervisor = common.Hypervisor(
            id=f"00000000-0000-0000-0000-0000000000b{number}",
            number=number,
            hostname=f"{host}.example",
            type="fake",
            version=1000,
            host_ip="10.0.0.1",
            service=service,
            vcpus=8,
            memory_mb=8192,
            memory_mb_used=1024,
            local_gb=100,
            local_gb_used=10,
            cpu_info='{"arch": "x86_64"}',
            uptime="up 1 day",
        )
        self.hypervisors.append(hypervisor)
        return service

    def ListComputeServices(self, request, _):
        found = [each for each in self.services if request.host in ("", each.host)]
        found = [each for each in found if request.allow_partial or not each.partial]
        return host_pb2.ListComputeServicesResponse(services=found)

    def UpdateComputeService(self, request, _):
        self.requests.append(request)
        for service in self.services:
            if request.id in (service.id,) or (not request.id and request.host == service.host):
                for field in ("disabled", "disabled_reason", "forced_down"):
                    if request.HasField(field):
                        setattr(service, field, getattr(request, field))
                return host_pb2.UpdateComputeServiceResponse(service=service)
        raise errors.NotFound("There is no such service.", "COMPUTE_SERVICE_NOT_FOUND")

    def DeleteComputeService(self, request, _):
        for service in self.services:
            if request.id == service.id or (request.number and request.number == service.number):
                self.services.remove(service)
                return host_pb2.DeleteComputeServiceResponse()
        raise errors.NotFound("There is no such service.", "COMPUTE_SERVICE_NOT_FOUND")

    def ListHypervisors(self, request, _):
        self.requests.append(request)
        found = [each for each in self.hypervisors if request.hostname_pattern in each.hostname]
        if request.page_token:
            tokens = [(each.id, str(each.number)) for each in found]
            position = [index for index, pair in enumerate(tokens) if request.page_token in pair]
            if not position:
                raise errors.InvalidArgument("There is no such marker.", "MARKER_NOT_FOUND")
            found = found[position[0] + 1 :]
        if request.page_size >= 0:
            found = found[: request.page_size]
        return host_pb2.ListHypervisorsResponse(hypervisors=found)

    def GetHypervisor(self, request, _):
        for hypervisor in self.hypervisors:
            if request.id == hypervisor.id or (request.number and request.number == hypervisor.number):
                return host_pb2.GetHypervisorResponse(hypervisor=hypervisor)
        raise errors.NotFound("There is no such hypervisor.", "HYPERVISOR_NOT_FOUND")

    def GetHypervisorStatistics(self, _request, _):
        totals = common.Hypervisor(vcpus=8, memory_mb=8192, memory_mb_used=1024)
        return host_pb2.GetHypervisorStatisticsResponse(count=len(self.hypervisors), totals=totals)

    def ListAvailabilityZones(self, request, _):
        zones = [
            host_pb2.AvailabilityZone(
                name="nova", available=True, services=self.services if request.with_services else ()
            ),
            host_pb2.AvailabilityZone(name="internal", available=True),
        ]
        return host_pb2.ListAvailabilityZonesResponse(zones=zones)


class ServerGroups(server_group_pb2_grpc.ServerGroupServiceServicer):
    def __init__(self) -> None:
        self.groups: dict[str, server_group_pb2.ServerGroup] = {}
        self.requests: list[Any] = []

    def CreateServerGroup(self, request, _):
        self.requests.append(request)
        group = server_group_pb2.ServerGroup()
        group.CopyFrom(request.group)
        if len(self.groups) >= LIMITS["server_groups"]:
            raise errors.QuotaExceeded(
                "No more groups.", resource="server_groups", limit=10, used=10, requested=1
            )
        group.id = str(uuid.uuid4())
        self.groups[group.id] = group
        return server_group_pb2.CreateServerGroupResponse(group=group)

    def _find(self, request):
        group = self.groups.get(request.id)
        if group is None or not (request.all_projects or group.project_id == context.current().project_id):
            raise errors.NotFound(f"Server group {request.id} could not be found.", "GROUP_NOT_FOUND")
        return group

    def GetServerGroup(self, request, _):
        return server_group_pb2.GetServerGroupResponse(group=self._find(request))

    def ListServerGroups(self, request, _):
        self.requests.append(request)
        found = [group for group in self.groups.values() if request.project_id in ("", group.project_id)]
        found = found[request.offset :][: request.page_size]
        return server_group_pb2.ListServerGroupsResponse(groups=found)

    def DeleteServerGroup(self, request, _):
        del self.groups[self._find(request).id]
        return server_group_pb2.DeleteServerGroupResponse()


class Aggregates(aggregate_pb2_grpc.AggregateServiceServicer):
    """Aggregates in memory. Hosts in `busy` have servers, those in `unknown` are none."""

    def __init__(self) -> None:
        self.aggregates: dict[int, aggregate_pb2.Aggregate] = {}
        self.busy: set[str] = set()
        self.unknown: set[str] = {"nowhere"}
        self.requests: list[Any] = []

    def _find(self, request: Any) -> aggregate_pb2.Aggregate:
        self.requests.append(request)
        if request.number not in self.aggregates:
            raise errors.NotFound("There is no such aggregate.", "AGGREGATE_NOT_FOUND")
        return self.aggregates[request.number]

    def _judge(self, hosts: Iterable[str]) -> None:
        for host in self.busy.intersection(hosts):
            raise errors.FailedPrecondition(f"{host} has servers.", "AGGREGATE_ZONE_CONFLICT", host=host)

    def CreateAggregate(self, request, _):
        if any(request.name == one.name for one in self.aggregates.values()):
            raise errors.AlreadyExists("There is such an aggregate.", "AGGREGATE_EXISTS", name=request.name)
        number = len(self.aggregates) + 1
        made = aggregate_pb2.Aggregate(id=str(uuid.UUID(int=number)), number=number, name=request.name)
        made.created_at.seconds = 1_700_000_000
        if request.availability_zone:
            made.metadata["availability_zone"] = request.availability_zone
        self.aggregates[number] = made
        return aggregate_pb2.CreateAggregateResponse(aggregate=made)

    def GetAggregate(self, request, _):
        return aggregate_pb2.GetAggregateResponse(aggregate=self._find(request))

    def ListAggregates(self, request, _):
        return aggregate_pb2.ListAggregatesResponse(aggregates=self.aggregates.values())

    def UpdateAggregate(self, request, _):
        found = self._find(request)
        if "availability_zone" in (*request.set_metadata, *request.unset_metadata):
            self._judge(found.hosts)
        if ":" in request.set_metadata.get("availability_zone", ""):
            raise errors.InvalidArgument("No colon.", "AGGREGATE_INVALID", field="availability_zone")
        if request.HasField("name"):
            found.name = request.name
        for key, value in request.set_metadata.items():
            found.metadata[key] = value
        for key in request.unset_metadata:
            found.metadata.pop(key, None)
        return aggregate_pb2.UpdateAggregateResponse(aggregate=found)

    def DeleteAggregate(self, request, _):
        if self._find(request).hosts:
            raise errors.FailedPrecondition("It has hosts.", "AGGREGATE_NOT_EMPTY")
        del self.aggregates[request.number]
        return aggregate_pb2.DeleteAggregateResponse()

    def AddAggregateHost(self, request, _):
        found = self._find(request)
        if request.host in self.unknown:
            raise errors.NotFound("There is no such host.", "HOST_NOT_FOUND", host=request.host)
        if request.host in found.hosts:
            raise errors.AlreadyExists("It is in.", "AGGREGATE_HOST_EXISTS", host=request.host)
        self._judge([request.host])
        found.hosts.append(request.host)
        return aggregate_pb2.AddAggregateHostResponse(aggregate=found)

    def RemoveAggregateHost(self, request, _):
        found = self._find(request)
        if request.host not in found.hosts:
            raise errors.NotFound("It is not in.", "AGGREGATE_HOST_NOT_FOUND", host=request.host)
        self._judge([request.host])
        found.hosts.remove(request.host)
        return aggregate_pb2.RemoveAggregateHostResponse(aggregate=found)

    def CacheAggregateImages(self, request, _):
        if not self._find(request).hosts:
            raise errors.FailedPrecondition("It has no hosts.", "AGGREGATE_EMPTY")
        if str(uuid.UUID(int=0)) in request.image_ids:
            raise errors.InvalidArgument("There is no such image.", "IMAGE_NOT_FOUND")
        return aggregate_pb2.CacheAggregateImagesResponse()
