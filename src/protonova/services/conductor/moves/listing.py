"""Lists of migrations: what is asked for as SQL, newest first."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from protonova.common.v1.migration_pb2 import Migration, MigrationFilter
from protonova.conductor.v1 import migration_pb2 as pb
from protonova.services.conductor.clock import to_micros
from protonova.services.conductor.moves import status, store
from protonova.services.conductor.tables import migrations

_columns = migrations.c


def page(connection: Connection, request: pb.ListMigrationsRequest, cell_id: str) -> list[Migration]:
    query = (
        sa.select(_columns.number, _columns.record)
        .where(*_conditions(request.filter))
        .order_by(_columns.created_at.desc(), _columns.id.desc())
    )
    if request.id:
        query = query.where(_columns.id == request.id)
    else:
        query = query.where(_columns.away.is_(False))
    if request.HasField("after"):
        moment = to_micros(request.after.created_at)
        earlier = sa.and_(_columns.created_at == moment, _columns.id < request.after.id)
        query = query.where(sa.or_(_columns.created_at < moment, earlier))
    if request.page_size:
        query = query.limit(request.page_size)
    found = store.read(connection.execute(query))
    for migration in found:
        migration.cell_id = cell_id
    return found


def _conditions(wanted: MigrationFilter) -> Iterator[ColumnElement[bool]]:
    """What nobody can be (a status there is not) matches nothing."""
    for name, column in (
        ("server_id", _columns.server_id),
        ("source_host", _columns.source_host),
        ("project_id", _columns.project_id),
        ("user_id", _columns.user_id),
    ):
        if value := getattr(wanted, name):
            yield column == value
    if wanted.host:
        yield sa.or_(_columns.source_host == wanted.host, _columns.dest_host == wanted.host)
    if wanted.status:
        yield _columns.status == status.STATUSES.get(wanted.status, -1)
    if wanted.type:
        yield _columns.type == status.TYPES.get(wanted.type, -1)
    if wanted.HasField("changed_since"):
        yield _columns.updated_at >= to_micros(wanted.changed_since)
    if wanted.HasField("changed_before"):
        yield _columns.updated_at <= to_micros(wanted.changed_before)
    if wanted.live_in_progress:
        yield _columns.type == status.LIVE
        yield _columns.status.in_(sorted(status.LIVE_IN_PROGRESS))
