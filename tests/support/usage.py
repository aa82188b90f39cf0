"""Usage services kept in memory: the api service's, as the gateway sees it, and a cell's, as api does."""

from __future__ import annotations

from protonova.api.v1 import usage_pb2, usage_pb2_grpc
from protonova.common.v1.server_pb2 import VM_STATE_ACTIVE
from protonova.common.v1.usage_pb2 import ServerUsage, UsageAudit
from protonova.conductor.v1 import usage_pb2 as cell_pb2
from protonova.conductor.v1 import usage_pb2_grpc as cell_pb2_grpc


def usage(server_id: str, project_id: str, launched: int, ended: int = 0, **fields) -> ServerUsage:
    """Times in seconds since the epoch."""
    values = {
        "name": f"named-{server_id[-1]}",
        "flavor_name": "m1.small",
        "vcpus": 2,
        "memory_mb": 512,
        "local_gb": 10,
        "vm_state": VM_STATE_ACTIVE,
    }
    made = ServerUsage(server_id=server_id, project_id=project_id, **{**values, **fields})
    made.launched_at.seconds = launched
    if ended:
        made.ended_at.seconds = ended
    return made


class Usages(usage_pb2_grpc.UsageServiceServicer):
    def __init__(self) -> None:
        self.usages: list[ServerUsage] = []
        self.requests: list[usage_pb2.ListServerUsagesRequest] = []
        self.audit = usage_pb2.GetUsageAuditResponse()
        self.before: list[usage_pb2.GetUsageAuditRequest] = []

    def ListServerUsages(self, request, _):
        self.requests.append(request)
        found = [each for each in self.usages if request.project_id in ("", each.project_id)]
        found = [each for each in found if each.server_id > request.page_token]
        return usage_pb2.ListServerUsagesResponse(usages=found[: request.page_size or None])

    def GetUsageAudit(self, request, _):
        self.before.append(request)
        return self.audit


class CellUsages(cell_pb2_grpc.UsageServiceServicer):
    def __init__(self) -> None:
        self.usages: list[ServerUsage] = []
        self.audits: list[UsageAudit] = []
        self.asked: list[cell_pb2.ListUsageAuditsRequest] = []

    def ListServerUsages(self, request, _):
        after = (request.after_project_id, request.after_server_id)
        found = [each for each in self.usages if request.project_id in ("", each.project_id)]
        found = sorted(
            (each for each in found if (each.project_id, each.server_id) > after),
            key=lambda each: (each.project_id, each.server_id),
        )
        return cell_pb2.ListServerUsagesResponse(usages=found[: request.page_size or None])

    def ListUsageAudits(self, request, _):
        self.asked.append(request)
        return cell_pb2.ListUsageAuditsResponse(audits=self.audits)
