"""Rows of hosts: who is there, who is up, who was told.

A host is up while its newest heartbeat, by the database's clock, is younger than `service_down_time` and no
operator forced it down. `reported_up` is what watchers of the host feed were told last; whoever finds it to be
wrong sets it by compare-and-set and tells them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from protonova.conductor.v1.host_pb2 import HostReport, HostState
from protonova.services.conductor import tables
from protonova.services.conductor.hosts.record import Host, host_state, select_hosts
from protonova.services.conductor.tables import hosts
from protonova.services.runtime import errors, feeds
from protonova.services.runtime.database import Database

# Parameters a statement may have on every database, with room to spare.
_CHUNK = 500


class Hosts:
    def __init__(
        self, db: Database, *, cell_id: str, service_down_time: int, enable_new: bool = True
    ) -> None:
        self.db = db
        self.cell_id = cell_id
        self._down_micros = service_down_time * 1_000_000
        self._enable_new = enable_new
        self._by_name = select_hosts(self.fresh()).where(hosts.c.host == sa.bindparam("name"))

    # ---- reading

    def fresh(self) -> ColumnElement[bool]:
        now = sa.select(self.db.now()).scalar_subquery()
        return hosts.c.heartbeat_at > now - self._down_micros

    def find(self, connection: Connection, *conditions: ColumnElement[bool]) -> list[Host]:
        """By number."""
        query = select_hosts(self.fresh()).where(*conditions).order_by(hosts.c.number)
        return [Host(row, self.cell_id) for row in connection.execute(query)]

    def get(self, connection: Connection, name: str) -> Host | None:
        row = connection.execute(self._by_name, {"name": name}).first()
        return None if row is None else Host(row, self.cell_id)

    def node_ids(self, connection: Connection) -> dict[str, str]:
        """Of all hosts, by name."""
        return {row.host: row.node_id for row in connection.execute(sa.select(hosts.c.host, hosts.c.node_id))}

    def identities(self, connection: Connection, names: Sequence[str]) -> dict[str, str]:
        """By host the id that marks its guests: nobody else's, for as long as the cell knows the host."""
        found: dict[str, str] = {}
        for chunk in _chunks(names):
            rows = connection.execute(
                sa.select(hosts.c.host, hosts.c.service_id).where(hosts.c.host.in_(chunk))
            )
            found.update((row.host, row.service_id) for row in rows)
        return found

    def states(self, connection: Connection, node_ids: Sequence[str]) -> dict[str, HostState]:
        """By node id, as watchers are to see them."""
        found = {}
        for chunk in _chunks(node_ids):
            for host in self.find(connection, hosts.c.node_id.in_(chunk)):
                found[host.node_id] = host_state(
                    host.report, up=host.reported_up, disabled=host.disabled, cell_id=self.cell_id
                )
        return found

    # ---- agents' reports

    def beat(self, connection: Connection, names: Sequence[str]) -> list[str]:
        """Takes the heartbeats of hosts that have not changed; returns those that are not known.

        One column of each row is written, and nothing is published but for hosts that come up."""
        unknown: list[str] = []
        risen: list[str] = []
        for chunk in _chunks(names):
            written = connection.execute(
                sa.update(hosts).where(hosts.c.host.in_(chunk)).values(heartbeat_at=self.db.now())
            )
            if written.rowcount != len(set(chunk)):
                known = set(connection.scalars(sa.select(hosts.c.host).where(hosts.c.host.in_(chunk))))
                unknown.extend(name for name in chunk if name not in known)
            risen.extend(
                connection.scalars(
                    sa.select(hosts.c.node_id).where(
                        hosts.c.host.in_(chunk),
                        hosts.c.reported_up.is_(False),
                        hosts.c.forced_down.is_(False),
                    )
                )
            )
        self._tell(connection, risen, up=True)
        return unknown

    def take(self, connection: Connection, reports: Iterable[HostReport]) -> None:
        """Takes full reports: adds or changes hosts, and publishes those whose state for scheduling changed."""
        changed: list[str] = []
        gone: list[str] = []
        for report in reports:
            if not report.host or not report.node_id:
                raise errors.InvalidArgument(
                    "A report names its host and node.", reason="REPORT_INVALID", host=report.host
                )
            known = self.get(connection, report.host)
            if known is None:
                self._add(connection, report)
                changed.append(report.node_id)
                continue
            up = not known.forced_down
            connection.execute(
                sa.update(hosts)
                .where(hosts.c.number == known.number)
                .values(
                    node=report.node,
                    node_id=report.node_id,
                    heartbeat_at=self.db.now(),
                    reported_up=up,
                    generation=hosts.c.generation + 1,
                    report=report.SerializeToString(),
                )
            )
            told = host_state(
                known.report, up=known.reported_up, disabled=known.disabled, cell_id=self.cell_id
            )
            if told != host_state(report, up=up, disabled=known.disabled, cell_id=self.cell_id):
                changed.append(report.node_id)
            if known.node_id != report.node_id:
                gone.append(known.node_id)
        self._publish(connection, gone, deleted=True)
        self._publish(connection, changed)

    # ---- operators' decisions

    def steer(self, connection: Connection, host: Host, values: dict[str, Any]) -> None:
        """Changes what operators may of a host, if nobody else did meanwhile; tells watchers."""
        forced = values.get("forced_down", host.forced_down)
        values["reported_up"] = host.fresh and not forced
        written = connection.execute(
            sa.update(hosts)
            .where(hosts.c.number == host.number, hosts.c.generation == host.generation)
            .values(**values, generation=host.generation + 1)
        )
        if written.rowcount != 1:
            raise errors.Aborted(
                f"Host {host.name} was changed meanwhile.", reason="CONCURRENT_UPDATE", host=host.name
            )
        self._publish(connection, [host.node_id])

    def remove(self, connection: Connection, host: Host) -> None:
        connection.execute(sa.delete(hosts).where(hosts.c.number == host.number))
        self._publish(connection, [host.node_id], deleted=True)

    # ---- builds

    def note_build(self, connection: Connection, name: str, *, refused: bool) -> None:
        """Counts a build that a host refused; one that succeeded takes back those counted so far. Watchers learn of
        it by the change of the server, which commits after it or with it."""
        count = hosts.c.failed_builds + 1 if refused else 0
        connection.execute(sa.update(hosts).where(hosts.c.host == name).values(failed_builds=count))

    def failed_builds(self, connection: Connection) -> dict[str, int]:
        """By host; those without any are left out."""
        query = sa.select(hosts.c.host, hosts.c.failed_builds).where(hosts.c.failed_builds > 0)
        return {row.host: row.failed_builds for row in connection.execute(query)}

    # ---- silence

    def silent(self, connection: Connection) -> list[str]:
        """Node ids of hosts that watchers believe to be up and whose heartbeat is too old."""
        return list(
            connection.scalars(
                sa.select(hosts.c.node_id)
                .where(hosts.c.reported_up.is_(True), sa.not_(self.fresh()))
                .limit(_CHUNK)
            )
        )

    def mark_down(self, connection: Connection, node_ids: Sequence[str]) -> list[str]:
        """Tells watchers of those that are still silent now; returns them."""
        fallen = list(
            connection.scalars(
                sa.select(hosts.c.node_id)
                .where(hosts.c.node_id.in_(node_ids), hosts.c.reported_up.is_(True), sa.not_(self.fresh()))
                .with_for_update()
            )
        )
        self._tell(connection, fallen, up=False)
        return fallen

    # ---- inside

    def _add(self, connection: Connection, report: HostReport) -> None:
        connection.execute(
            sa.insert(hosts).values(
                service_id=str(uuid.uuid4()),
                host=report.host,
                node=report.node,
                node_id=report.node_id,
                disabled=not self._enable_new,
                disabled_reason="" if self._enable_new else "New hosts wait until an operator enables them.",
                forced_down=False,
                heartbeat_at=self.db.now(),
                reported_up=True,
                generation=1,
                created_at=self.db.now(),
                report=report.SerializeToString(),
            )
        )

    def _tell(self, connection: Connection, node_ids: Sequence[str], *, up: bool) -> None:
        for chunk in _chunks(node_ids):
            connection.execute(sa.update(hosts).where(hosts.c.node_id.in_(chunk)).values(reported_up=up))
        self._publish(connection, node_ids)

    def _publish(self, connection: Connection, node_ids: Sequence[str], *, deleted: bool = False) -> None:
        if node_ids:
            feeds.publish(connection, tables.HOST_TOPIC, node_ids, deleted=deleted)


def _chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]
