"""QuotaService: limits of projects, users and classes, and what is used of them."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
from sqlalchemy import Connection, delete

from protonova.api.v1 import quota_pb2 as pb
from protonova.api.v1 import quota_pb2_grpc
from protonova.services.api import tables, usage
from protonova.services.api.limits import DEFAULT_CLASS, OPTIONS, PER_USER, Limits
from protonova.services.runtime import database, errors
from protonova.services.runtime.database import Database

_GREATEST = 2**31 - 1
_quotas, _classes = tables.quotas, tables.quota_classes


class QuotaService(quota_pb2_grpc.QuotaServiceServicer):
    def __init__(self, db: Database, limits: Limits) -> None:
        self._db = db
        self._limits = limits

    def GetQuota(self, request: pb.GetQuotaRequest, context: grpc.ServicerContext) -> pb.GetQuotaResponse:
        def read(connection: Connection) -> list[pb.QuotaLine]:
            if request.defaults:
                return _lines(self._limits.of_class(connection, DEFAULT_CLASS), {})
            return self._told(connection, request.project_id, request.user_id)

        return pb.GetQuotaResponse(lines=self._db.read(read))

    def UpdateQuota(
        self, request: pb.UpdateQuotaRequest, context: grpc.ServicerContext
    ) -> pb.UpdateQuotaResponse:
        wanted = dict(request.limits)
        _check_range(wanted)

        def update(connection: Connection) -> list[pb.QuotaLine]:
            project, _ = self._limits.of(connection, request.project_id, request.user_id)
            used = self._used(connection, request.project_id, request.user_id)
            for resource, limit in wanted.items():
                if request.user_id:
                    _check_below_project(resource, limit, project[resource])
                if not request.force and 0 <= limit < used.get(resource, 0):
                    raise _invalid(
                        resource,
                        limit,
                        "below_usage",
                        f"is less than the {used[resource]} in use",
                        used=used[resource],
                    )
            for resource, limit in sorted(wanted.items()):
                database.upsert(
                    connection,
                    _quotas,
                    {
                        "project_id": request.project_id,
                        "user_id": request.user_id,
                        "resource": resource,
                        "hard_limit": limit,
                    },
                    ("project_id", "user_id", "resource"),
                )
            return self._told(connection, request.project_id, request.user_id)

        return pb.UpdateQuotaResponse(lines=self._db.write(update))

    def DeleteQuota(
        self, request: pb.DeleteQuotaRequest, context: grpc.ServicerContext
    ) -> pb.DeleteQuotaResponse:
        conditions = [_quotas.c.project_id == request.project_id]
        if request.user_id:
            conditions.append(_quotas.c.user_id == request.user_id)
        self._db.write(lambda connection: connection.execute(delete(_quotas).where(*conditions)) and None)
        return pb.DeleteQuotaResponse()

    def GetQuotaClass(
        self, request: pb.GetQuotaClassRequest, context: grpc.ServicerContext
    ) -> pb.GetQuotaClassResponse:
        found = self._db.read(lambda connection: self._limits.of_class(connection, request.name))
        return pb.GetQuotaClassResponse(limits=found)

    def UpdateQuotaClass(
        self, request: pb.UpdateQuotaClassRequest, context: grpc.ServicerContext
    ) -> pb.UpdateQuotaClassResponse:
        wanted = dict(request.limits)
        _check_range(wanted)

        def update(connection: Connection) -> dict[str, int]:
            for resource, limit in sorted(wanted.items()):
                row = {"class_name": request.name, "resource": resource, "hard_limit": limit}
                database.upsert(connection, _classes, row, ("class_name", "resource"))
            return self._limits.of_class(connection, request.name)

        return pb.UpdateQuotaClassResponse(limits=self._db.write(update))

    def _told(self, connection: Connection, project_id: str, user_id: str) -> list[pb.QuotaLine]:
        project, user = self._limits.of(connection, project_id, user_id)
        return _lines(user if user_id else project, self._used(connection, project_id, user_id))

    def _used(self, connection: Connection, project_id: str, user_id: str) -> dict[str, int]:
        """Key pairs belong to users, not to projects: they show where a user is named."""
        used = usage.read(connection, project_id, user_id)
        used["key_pairs"] = usage.read(connection, "", user_id)["key_pairs"] if user_id else 0
        return used


def _lines(limits: Mapping[str, int], used: Mapping[str, int]) -> list[pb.QuotaLine]:
    return [
        pb.QuotaLine(resource=resource, limit=limits[resource], used=used.get(resource, 0))
        for resource in OPTIONS
    ]


def _check_range(limits: Mapping[str, int]) -> None:
    for resource, limit in limits.items():
        if resource not in OPTIONS:
            raise _invalid(resource, limit, "unknown", "is the limit of an unknown resource")
        if not -1 <= limit <= _GREATEST:
            raise _invalid(resource, limit, "range", f"must lie between -1 and {_GREATEST}")


def _check_below_project(resource: str, limit: int, project_limit: int) -> None:
    if resource not in PER_USER:
        raise _invalid(resource, limit, "unknown", "cannot be set for one user")
    if project_limit >= 0 and not 0 <= limit <= project_limit:
        raise _invalid(
            resource,
            limit,
            "above_project",
            f"is more than the project's limit {project_limit}",
            project_limit=project_limit,
        )


def _invalid(resource: str, limit: int, cause: str, rule: str, **facts: int) -> errors.InvalidArgument:
    return errors.InvalidArgument(
        f"Quota limit {limit} for {resource} {rule}.",
        reason="QUOTA_INVALID",
        resource=resource,
        limit=limit,
        cause=cause,
        **facts,
    )
