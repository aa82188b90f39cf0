"""Reading servers: one, or a page of them, with the status their hosts have right now."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from protonova.common.v1.server_pb2 import HostStatus, Server
from protonova.common.v1.server_query_pb2 import ServerFilter, ServerView
from protonova.conductor.v1 import server_pb2
from protonova.services.conductor.clock import set_time
from protonova.services.conductor.servers import order, query
from protonova.services.conductor.servers.store import Servers, not_found
from protonova.services.conductor.tables import hosts, servers
from protonova.services.runtime.database import Database

_TIMES = {"created_at", "updated_at", "launched_at", "terminated_at", "deleted_at"}
# Columns whose fields stand in a message of the server.
_NESTED = {
    "image_id": lambda server, value: setattr(server.image, "id", value),
    "flavor_id": lambda server, value: setattr(server.flavor, "id", value),
    "vcpus": lambda server, value: setattr(server.flavor, "vcpus", value),
    "memory_mb": lambda server, value: setattr(server.flavor, "memory_mb", value),
    "kernel_id": lambda server, value: server.image.properties.update(kernel_id=value),
    "ramdisk_id": lambda server, value: server.image.properties.update(ramdisk_id=value),
}


class Listing:
    def __init__(self, db: Database, store: Servers, service_down_time: int) -> None:
        self._db = db
        self._store = store
        self._down_micros = service_down_time * 1_000_000
        self._whole = sa.select(servers.c.number, servers.c.record, self._host_status()).select_from(
            servers.outerjoin(hosts, hosts.c.host == servers.c.host)
        )
        self._any_one = self._whole.where(
            servers.c.id == sa.bindparam("server_id"), servers.c.deleted_at >= 0
        )
        self._living_one = self._any_one.where(servers.c.deleted_at == 0)

    def get(self, server_id: str, *, include_deleted: bool) -> Server:
        """Raises `errors.NotFound` (SERVER_NOT_FOUND)."""
        statement = self._any_one if include_deleted else self._living_one
        row = self._db.read(
            lambda connection: connection.execute(statement, {"server_id": server_id}).first()
        )
        if row is None:
            raise not_found(server_id)
        number, record, status = row
        server = self._store.parse(number, record)
        server.host_status = status
        return server

    def page(self, request: server_pb2.ListServersRequest) -> server_pb2.ListServersResponse:
        """Raises `errors.InvalidArgument` (FILTER_INVALID; facts: field)."""
        response = server_pb2.ListServersResponse()
        if request.page_size <= 0:
            return response
        sequence = order.order_of(request.sort)
        where = query.conditions(request.filter, self._db.dialect)
        if request.HasField("after"):
            where.append(order.after(sequence, request.after))
        if request.view == ServerView.SERVER_VIEW_SUMMARY:
            self._summaries(response, where, sequence, request.page_size)
        else:
            self._records(response, where, sequence, request.page_size)
        return response

    def records(
        self, connection: Connection, wanted: ServerFilter, server_ids: list[str]
    ) -> dict[str, Server]:
        """Those of the servers that match, by id."""
        conditions = query.conditions(wanted, self._db.dialect)
        statement = self._whole.where(*conditions, servers.c.id.in_(server_ids))
        found = {}
        for number, record, status in connection.execute(statement):
            server = self._store.parse(number, record)
            server.host_status = status
            found[server.id] = server
        return found

    def _records(
        self,
        response: server_pb2.ListServersResponse,
        where: list[ColumnElement[bool]],
        sequence: order.Order,
        size: int,
    ) -> None:
        add = response.servers.add
        for number, record, status in self._rows(self._page(self._whole, where, sequence, size)):
            server = add()
            server.MergeFromString(record)
            server.host_status = status
            if not server.instance_name:
                server.instance_name = self._store.instance_name(number, server.id)

    def _summaries(
        self,
        response: server_pb2.ListServersResponse,
        where: list[ColumnElement[bool]],
        sequence: order.Order,
        size: int,
    ) -> None:
        sorted_by = [column for column, _ in sequence if column.name not in {"id", "name", "project_id"}]
        shown = sa.select(servers.c.id, servers.c.name, servers.c.project_id, *sorted_by)
        add = response.servers.add
        for server_id, name, project_id, *values in self._rows(self._page(shown, where, sequence, size)):
            server = add(id=server_id, name=name, project_id=project_id)
            for column, value in zip(sorted_by, values, strict=True):
                _set(server, column.name, value)

    def _page(
        self, shown: sa.Select, where: list[ColumnElement[bool]], sequence: order.Order, size: int
    ) -> sa.Select:
        """Where all servers have to be sorted, it is their numbers that are, for which an index will do; only those
        that are on the page are read then."""
        clauses = order.clauses(sequence)
        if order.stands_ready(sequence):
            return shown.where(*where).order_by(*clauses).limit(size)
        chosen = sa.select(servers.c.number).where(*where).order_by(*clauses).limit(size).subquery("chosen")
        return shown.join(chosen, chosen.c.number == servers.c.number).order_by(*clauses)

    def _rows(self, statement: sa.Select) -> list[Any]:
        try:
            return self._db.read(lambda connection: list(connection.execute(statement)))
        except sa.exc.DBAPIError as error:
            if query.refused_regex(error):
                raise query.invalid("", "The database cannot match a regular expression.") from error
            raise

    def _host_status(self) -> ColumnElement[int]:
        now = sa.select(self._db.now()).scalar_subquery()
        return sa.case(
            (hosts.c.number.is_(None), HostStatus.HOST_STATUS_UNSPECIFIED),
            (hosts.c.forced_down, HostStatus.HOST_STATUS_DOWN),
            (hosts.c.disabled, HostStatus.HOST_STATUS_MAINTENANCE),
            (hosts.c.heartbeat_at > now - self._down_micros, HostStatus.HOST_STATUS_UP),
            else_=HostStatus.HOST_STATUS_UNKNOWN,
        )


def _set(server: Server, column: str, value: Any) -> None:
    if column in _TIMES:
        if value:
            set_time(getattr(server, column), value)
    elif column in _NESTED:
        _NESTED[column](server, value)
    else:
        setattr(server, column, value)
