"""UsageService: what servers of all cells took. Cells that do not answer are left out, and the log says so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import grpc

from protonova.api.v1 import usage_pb2 as pb
from protonova.api.v1 import usage_pb2_grpc
from protonova.common.v1.usage_pb2 import ServerUsage, UsageAudit
from protonova.conductor.v1 import usage_pb2 as conductor_pb
from protonova.services.api import mappings
from protonova.services.api.cells import Cells
from protonova.services.api.conductors import Conductor
from protonova.services.api.fan_out import FanOut
from protonova.services.api.hosts import HostDirectory
from protonova.services.runtime import context as contexts
from protonova.services.runtime import errors
from protonova.services.runtime.audit_period import last_whole
from protonova.services.runtime.config import Conf
from protonova.services.runtime.database import Database

_log = logging.getLogger("protonova.api.usage")
T = TypeVar("T")


class UsageService(usage_pb2_grpc.UsageServiceServicer):
    def __init__(self, conf: Conf, db: Database, cells: Cells, hosts: HostDirectory, fan_out: FanOut) -> None:
        self._conf = conf
        self._db = db
        self._cells = cells
        self._hosts = hosts
        self._fan_out = fan_out

    def ListServerUsages(
        self, request: pb.ListServerUsagesRequest, context: grpc.ServicerContext
    ) -> pb.ListServerUsagesResponse:
        caller = contexts.current()
        question = conductor_pb.ListServerUsagesRequest(
            project_id=request.project_id if caller.is_admin else caller.project_id,
            begin=request.begin,
            end=request.end,
            page_size=request.page_size,
        )
        if request.page_token:
            question.after_server_id = request.page_token
            question.after_project_id = self._project_of(request.page_token, question.project_id)

        def ask(conductor: Conductor) -> list[ServerUsage]:
            return list(self._call(conductor, conductor.usage.ListServerUsages, question).usages)

        found = self._of_all(ask)
        found.sort(key=lambda usage: (usage.project_id, usage.server_id))
        return pb.ListServerUsagesResponse(usages=found[: request.page_size or None])

    def GetUsageAudit(
        self, request: pb.GetUsageAuditRequest, context: grpc.ServicerContext
    ) -> pb.GetUsageAuditResponse:
        before = request.before.ToDatetime(UTC) if request.HasField("before") else datetime.now(UTC)
        try:
            begin, end = last_whole(str(self._conf.instance_usage_audit_period), before)
        except (OverflowError, ValueError):
            raise errors.InvalidArgument(
                f"There was no period before {before.isoformat()}.", reason="PERIOD_UNKNOWN", field="before"
            ) from None
        answer = pb.GetUsageAuditResponse()
        answer.begin.FromDatetime(begin)
        answer.end.FromDatetime(end)
        question = conductor_pb.ListUsageAuditsRequest(begin=answer.begin, end=answer.end)

        def ask(conductor: Conductor) -> list[UsageAudit]:
            return list(self._call(conductor, conductor.usage.ListUsageAudits, question).audits)

        answer.audits.extend(sorted(self._of_all(ask), key=lambda audit: audit.host))
        services = self._hosts.services(with_missing=True)
        answer.hosts.extend(sorted({service.host for service in services}))
        return answer

    def _project_of(self, server_id: str, project_id: str) -> str:
        """Raises MARKER_NOT_FOUND."""
        place = self._db.read(lambda connection: mappings.find(connection, server_id))
        if place is None or (project_id and place.project_id != project_id):
            raise errors.InvalidArgument(
                f"Marker {server_id} could not be found.", reason="MARKER_NOT_FOUND", marker=server_id
            )
        return place.project_id

    def _call(self, conductor: Conductor, method: Callable[..., T], question: object) -> T:
        answer: T = conductor.call(method, question, float(self._conf.api.cell_timeout))
        return answer

    def _of_all(self, ask: Callable[[Conductor], list[T]]) -> list[T]:
        answers = self._fan_out.ask(self._cells.conductors(), ask)
        for cell_id in answers.missing:
            _log.warning("Usage is told without cell %s, which does not answer", cell_id)
        return [each for some in answers.by_cell.values() for each in some]
