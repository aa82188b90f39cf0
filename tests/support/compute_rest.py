"""Key pairs, quotas and hosts of the api service's contract, kept in memory."""

from __future__ import annotations

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from protonova.api.v1 import (
    host_pb2,
    host_pb2_grpc,
    keypair_pb2,
    keypair_pb2_grpc,
    quota_pb2,
    quota_pb2_grpc,
)
from protonova.common.v1 import host_pb2 as common
from protonova.services.runtime import errors

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
