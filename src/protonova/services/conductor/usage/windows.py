"""Servers that were there within a period of time, deleted ones among them."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from protonova.common.v1.server_pb2 import Server
from protonova.common.v1.usage_pb2 import ServerUsage
from protonova.conductor.v1 import usage_pb2 as pb
from protonova.services.conductor.clock import to_micros
from protonova.services.conductor.tables import servers


def within(begin: int, end: int) -> ColumnElement[bool]:
    """Launched before the end, and not gone before the beginning; microseconds since the epoch."""
    return sa.and_(
        servers.c.launched_at > 0,
        servers.c.launched_at < end,
        sa.or_(servers.c.deleted_at == 0, servers.c.deleted_at > begin),
    )


def list_usages(connection: Connection, request: pb.ListServerUsagesRequest) -> list[ServerUsage]:
    query = (
        sa.select(servers.c.record)
        .where(within(to_micros(request.begin), to_micros(request.end)))
        .order_by(servers.c.project_id, servers.c.id)
    )
    if request.project_id:
        query = query.where(servers.c.project_id == request.project_id)
    if request.after_server_id:
        query = query.where(
            sa.or_(
                servers.c.project_id > request.after_project_id,
                sa.and_(
                    servers.c.project_id == request.after_project_id, servers.c.id > request.after_server_id
                ),
            )
        )
    if request.page_size > 0:
        query = query.limit(request.page_size)
    return [_usage(Server.FromString(record)) for record in connection.scalars(query)]


def _usage(server: Server) -> ServerUsage:
    flavor = server.flavor
    return ServerUsage(
        server_id=server.id,
        name=server.name,
        project_id=server.project_id,
        flavor_name=flavor.name,
        vm_state=server.vm_state,
        vcpus=flavor.vcpus,
        memory_mb=flavor.memory_mb,
        local_gb=flavor.root_gb + flavor.ephemeral_gb,
        launched_at=server.launched_at,
        ended_at=server.deleted_at if server.HasField("deleted_at") else None,
    )
