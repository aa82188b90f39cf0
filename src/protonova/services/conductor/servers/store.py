"""The only door to rows of servers: every change goes through `Servers.write`.

A change reads the server, lets the caller alter the message, and writes it back if the generation is still the
one that was read; it raises the generation and sets `updated_at`. `tell` then tells the server feed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import Server
from protonova.services.conductor import tables
from protonova.services.conductor.clock import set_time
from protonova.services.conductor.servers import shares
from protonova.services.conductor.servers.record import columns
from protonova.services.runtime import errors, feeds
from protonova.services.runtime.database import now

_servers = tables.servers

# Built once: to build a statement costs more than to run it.
_ROW_BY_ID = sa.select(_servers.c.number, _servers.c.record).where(_servers.c.id == sa.bindparam("server_id"))
_BY_ID = _ROW_BY_ID.where(_servers.c.deleted_at >= 0)
_LIVING_BY_ID = _ROW_BY_ID.where(_servers.c.deleted_at == 0)
# Living, or kept for a cell that has the server now.
_KEPT_BY_ID = _ROW_BY_ID.where(_servers.c.deleted_at <= 0)
_FOR_CHANGE = _LIVING_BY_ID.add_columns(now()).with_for_update()
_KEPT_FOR_CHANGE = _KEPT_BY_ID.add_columns(now()).with_for_update()
_NOW = sa.select(now())
_CHANGE = sa.update(_servers).where(
    _servers.c.number == sa.bindparam("b_number"), _servers.c.generation == sa.bindparam("b_generation")
)


class Servers:
    def __init__(self, name_template: str) -> None:
        self._name_template = name_template

    def insert(self, connection: Connection, servers: Sequence[Server]) -> None:
        """Adds new servers with their tags; to be told. `created_at` is kept where it is set."""
        moment = connection.execute(_NOW).scalar_one()
        rows = []
        for server in servers:
            if not server.HasField("created_at"):
                set_time(server.created_at, moment)
            set_time(server.updated_at, moment)
            server.generation += 1
            rows.append({**columns(server), "record": server.SerializeToString()})
        connection.execute(sa.insert(_servers), rows)
        add_tags(connection, [(server.id, tag) for server in servers for tag in server.tags])

    def parse(self, number: int, record: bytes) -> Server:
        server = Server.FromString(record)
        if not server.instance_name:
            server.instance_name = self.instance_name(number, server.id)
        return server

    def instance_name(self, number: int, server_id: str) -> str:
        if "%(" in self._name_template:
            return self._name_template % {"id": number, "uuid": server_id}
        return self._name_template % number

    def get(
        self, connection: Connection, server_id: str, *, include_deleted: bool = False, away: bool = False
    ) -> Server:
        """`away`: a record that is only kept will do. Raises `errors.NotFound` (SERVER_NOT_FOUND)."""
        query = _BY_ID if include_deleted else _LIVING_BY_ID
        query = _KEPT_BY_ID if away else query
        row = connection.execute(query, {"server_id": server_id}).first()
        if row is None:
            raise not_found(server_id)
        return self.parse(*row)

    def existing(
        self, connection: Connection, server_ids: Iterable[str], *, living: bool = False
    ) -> set[str]:
        """Those of the ids that are known; deleted servers among them, unless only `living` ones count."""
        query = sa.select(_servers.c.id).where(_servers.c.id.in_(list(server_ids)))
        if living:
            query = query.where(_servers.c.deleted_at == 0)
        return set(connection.scalars(query))

    def drop(self, connection: Connection, server_id: str, away_by: str) -> None:
        """Removes a record that is kept because of a migration, and no other."""
        try:
            server = self.get(connection, server_id, away=True)
        except errors.NotFound:
            return
        if server.away_by == away_by:
            remove_tags(connection, server_id, server.tags)
            connection.execute(sa.delete(_servers).where(_servers.c.id == server_id))

    def change(self, connection: Connection, server_id: str, alter: Callable[[Server], object]) -> Server:
        """`write` and `tell`: for transactions that do nothing after it."""
        server = self.write(connection, server_id, alter)
        self.tell(connection, server)
        return server

    def write(
        self,
        connection: Connection,
        server_id: str,
        alter: Callable[[Server], object],
        *,
        away: bool = False,
    ) -> Server:
        """Alters a living server (`away`: or a record that is only kept); returns it as committed. What `alter`
        raises ends the transaction.

        `updated_at` is now when `alter` is called. An alteration that alters nothing else writes nothing.
        """
        query = _KEPT_FOR_CHANGE if away else _FOR_CHANGE
        row = connection.execute(query, {"server_id": server_id}).first()
        if row is None:
            raise not_found(server_id)
        number, record, moment = row
        server = self.parse(number, record)
        seen, before = server.generation, columns(server)
        was = Server()
        was.CopyFrom(server)
        set_time(server.updated_at, int(moment))
        set_time(was.updated_at, int(moment))
        alter(server)
        shares.follow(server)
        if server == was:
            return self.parse(number, record)
        server.generation = seen + 1
        values = {name: value for name, value in columns(server).items() if before[name] != value}
        key = {"b_number": number, "b_generation": seen}
        written = connection.execute(_CHANGE, {**values, "record": server.SerializeToString(), **key})
        if written.rowcount != 1:
            raise errors.Aborted(
                f"Server {server_id} was changed meanwhile.", reason="CONCURRENT_UPDATE", server_id=server_id
            )
        if server.shares != was.shares:
            shares.index(connection, server)
        return server

    def tell(self, connection: Connection, *servers: Server) -> None:
        """Tells the feed of servers that were written; the last thing a transaction does, because all others
        that tell it something wait meanwhile."""
        gone = [server.id for server in servers if server.HasField("deleted_at") or server.away_by]
        there = [server.id for server in servers if server.id not in gone]
        feeds.publish(connection, tables.SERVER_TOPIC, there)
        feeds.publish(connection, tables.SERVER_TOPIC, gone, deleted=True)


def not_found(server_id: str) -> errors.NotFound:
    return errors.NotFound(
        f"Server {server_id} could not be found.", reason="SERVER_NOT_FOUND", server_id=server_id
    )


def add_tags(connection: Connection, tags: Sequence[tuple[str, str]]) -> None:
    if tags:
        connection.execute(
            sa.insert(tables.server_tags), [{"server_id": server_id, "tag": tag} for server_id, tag in tags]
        )


def remove_tags(connection: Connection, server_id: str, tags: Iterable[str]) -> None:
    named = list(tags)
    if named:
        connection.execute(
            sa.delete(tables.server_tags).where(
                tables.server_tags.c.server_id == server_id, tables.server_tags.c.tag.in_(named)
            )
        )
