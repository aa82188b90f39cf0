"""Every change of an aggregate: judged, written, told to watchers and, where placement is to know of it, recorded
as an operation of the mirror, all in one transaction.

What stands on hosts is asked of their cells before; the transaction judges by that. A change holds the aggregate's
row and then those of its hosts (`host_mappings`), so that of two that would put one host into two zones one waits
for the other and sees it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, delete, exc, select

from protonova.api.v1.aggregate_pb2 import Aggregate
from protonova.services.api import tables
from protonova.services.api.aggregates import store
from protonova.services.api.aggregates.mirror import MIRROR
from protonova.services.api.aggregates.zones import Standing, judge
from protonova.services.api.hosts import COMPUTE, HostDirectory
from protonova.services.runtime import errors, feeds
from protonova.services.runtime.database import Database
from protonova.services.runtime.operations import Engine

T = TypeVar("T")
_mappings = tables.host_mappings


class AggregateChanges:
    def __init__(self, db: Database, engine: Engine, hosts: HostDirectory) -> None:
        self._db = db
        self._engine = engine
        self._hosts = hosts

    def create(self, name: str, metadata: Mapping[str, str]) -> Aggregate:
        """Raises AGGREGATE_EXISTS."""
        aggregate_id = str(uuid.uuid4())

        def change(connection: Connection) -> Aggregate:
            store.create(connection, aggregate_id, name, metadata, self._now(connection))
            return _told(connection, aggregate_id)

        return self._write(change, name)

    def update(
        self,
        aggregate_id: str,
        number: int,
        *,
        name: str | None,
        set_metadata: Mapping[str, str],
        unset_metadata: Iterable[str],
    ) -> Aggregate:
        """Raises AGGREGATE_NOT_FOUND, AGGREGATE_EXISTS, AGGREGATE_ZONE_CONFLICT, CELL_UNAVAILABLE."""
        unset = set(unset_metadata) - set(set_metadata)
        rezones = store.ZONE_KEY in set_metadata or store.ZONE_KEY in unset

        def members(connection: Connection) -> list[str]:
            row = store.find(connection, aggregate_id, number)
            return store.hosts_of(connection, row.number)

        standings = self._standings(self._db.read(members)) if rezones else {}

        def change(connection: Connection) -> Aggregate:
            row = store.find(connection, aggregate_id, number, lock=True)
            if rezones:
                after = set_metadata.get(store.ZONE_KEY, "")
                hosts = store.hosts_of(connection, row.number)
                before = store.zone_of(connection, row.number)
                self._judge(connection, row, hosts, before, after, standings)
            if name is not None:
                store.rename(connection, row, name)
            store.set_metadata(connection, row.number, set_metadata)
            store.unset_metadata(connection, row.number, unset)
            store.touch(connection, row.number, self._now(connection))
            return _told(connection, row.id)

        return self._write(change, name or "")

    def delete(self, aggregate_id: str, number: int) -> None:
        """Raises AGGREGATE_NOT_FOUND, AGGREGATE_NOT_EMPTY."""

        def change(connection: Connection) -> None:
            row = store.find(connection, aggregate_id, number, lock=True)
            if hosts := store.hosts_of(connection, row.number):
                raise errors.FailedPrecondition(
                    f"Aggregate {row.name} has hosts: {', '.join(hosts[:5])}. Take them out first.",
                    reason="AGGREGATE_NOT_EMPTY",
                    aggregate_id=row.id,
                )
            store.remove(connection, row.number)
            feeds.publish(connection, tables.AGGREGATES_TOPIC, [row.id], deleted=True)

        self._db.write(change)

    def add_host(self, aggregate_id: str, number: int, host: str) -> Aggregate:
        """Raises AGGREGATE_NOT_FOUND, HOST_NOT_FOUND, AGGREGATE_HOST_EXISTS, AGGREGATE_ZONE_CONFLICT,
        CELL_UNAVAILABLE."""
        self._db.read(lambda connection: store.find(connection, aggregate_id, number))
        if not self._hosts.services(host=host, binary=COMPUTE, with_missing=True):
            raise errors.NotFound(
                f"Compute host {host} could not be found.", reason="HOST_NOT_FOUND", host=host
            )
        standings = self._standings([host])

        def change(connection: Connection) -> tuple[Aggregate, str]:
            row = store.find(connection, aggregate_id, number, lock=True)
            if host in store.hosts_of(connection, row.number):
                raise _host_exists(row, host)
            zone = store.zone_of(connection, row.number)
            self._judge(connection, row, [host], "", zone, standings)
            store.add_host(connection, row.number, host)
            store.touch(connection, row.number, self._now(connection))
            operation = self._mirrored(connection, row.id, {host: ""})
            return _told(connection, row.id), operation

        return self._mirrored_change(change)

    def remove_host(self, aggregate_id: str, number: int, host: str) -> Aggregate:
        """Raises AGGREGATE_NOT_FOUND, AGGREGATE_HOST_NOT_FOUND, AGGREGATE_ZONE_CONFLICT, CELL_UNAVAILABLE."""
        self._db.read(lambda connection: store.find(connection, aggregate_id, number))
        standings = self._standings([host])

        def change(connection: Connection) -> tuple[Aggregate, str]:
            row = store.find(connection, aggregate_id, number, lock=True)
            node_id = store.remove_host(connection, row.number, host)
            if node_id is None:
                raise errors.NotFound(
                    f"Host {host} is not in aggregate {row.name}.",
                    reason="AGGREGATE_HOST_NOT_FOUND",
                    aggregate_id=row.id,
                    host=host,
                )
            zone = store.zone_of(connection, row.number)
            self._judge(connection, row, [host], zone, "", standings)
            store.touch(connection, row.number, self._now(connection))
            operation = self._mirrored(connection, row.id, {host: node_id})
            return _told(connection, row.id), operation

        return self._mirrored_change(change)

    def forget_host(self, host: str) -> None:
        """A host that was removed from its cell: it leaves its aggregates, and nothing says any more where it
        was."""
        members = tables.aggregate_hosts

        def change(connection: Connection) -> list[str]:
            number = tables.aggregates.c.number
            joined = select(members.c.aggregate_number).where(members.c.host == host)
            query = select(tables.aggregates).where(number.in_(joined)).order_by(number)
            left = connection.execute(query.with_for_update()).all()
            operations = []
            for row in left:
                node_id = store.remove_host(connection, row.number, host)
                store.touch(connection, row.number, self._now(connection))
                operations.append(self._mirrored(connection, row.id, {host: node_id or ""}))
            connection.execute(delete(_mappings).where(_mappings.c.host == host))
            feeds.publish(connection, tables.AGGREGATES_TOPIC, [row.id for row in left])
            return operations

        for operation in self._db.write(change):
            self._engine.run(operation)
        self._hosts.forget()

    # ---- inside

    def _standings(self, hosts: Sequence[str]) -> dict[str, Standing]:
        """Hosts that no cell has are bare of servers and of a zone."""
        found: dict[str, Standing] = {}
        for some in store.chunks(hosts):
            nodes = self._hosts.nodes(some, with_servers=True)
            for host in some:
                node = nodes.by_host.get(host)
                if node is not None:
                    found[host] = Standing(node.service.availability_zone, len(node.servers))
                else:
                    found[host] = Standing(silent_cell=nodes.silent.get(host, ""))
        return found

    def _judge(
        self,
        connection: Connection,
        row: Row[Any],
        hosts: Sequence[str],
        before: str,
        after: str,
        standings: Mapping[str, Standing],
    ) -> None:
        for some in store.chunks(hosts):
            query = select(_mappings.c.host).where(_mappings.c.host.in_(some)).order_by(_mappings.c.host)
            connection.execute(query.with_for_update()).all()
        others = store.zones(connection, hosts, besides=row.number)
        judge(hosts, before=before, after=after, others=others, standings=standings)

    def _mirrored(self, connection: Connection, aggregate_id: str, hosts: Mapping[str, str]) -> str:
        return self._engine.create(connection, MIRROR, aggregate_id, {"hosts": dict(hosts)})

    def _mirrored_change(self, change: Callable[[Connection], tuple[Aggregate, str]]) -> Aggregate:
        changed, operation = self._db.write(change)
        self._engine.run(operation)
        return changed

    def _write(self, change: Callable[[Connection], T], name: str) -> T:
        try:
            return self._db.write(change)
        except exc.IntegrityError:
            raise store.exists_already(name) from None

    def _now(self, connection: Connection) -> int:
        return int(connection.execute(select(self._db.now())).scalar_one())


def _told(connection: Connection, aggregate_id: str) -> Aggregate:
    """An aggregate as it is now, told to watchers: the last statement of its transaction."""
    changed = store.load(connection, [aggregate_id])[aggregate_id]
    feeds.publish(connection, tables.AGGREGATES_TOPIC, [aggregate_id])
    return changed


def _host_exists(row: Row[Any], host: str) -> errors.AlreadyExists:
    return errors.AlreadyExists(
        f"Host {host} is in aggregate {row.name} already.",
        reason="AGGREGATE_HOST_EXISTS",
        aggregate_id=row.id,
        host=host,
    )
