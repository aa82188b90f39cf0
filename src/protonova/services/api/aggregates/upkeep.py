"""Sees to it that placement knows of every host of every aggregate, also of those that came later.

Two looks, each in bounded batches. Often: a host whose row says that it is not mirrored gets an operation if, and
only if, its provider is there by now and no operation of its aggregate is under way. Seldom: rows that say they
are mirrored are compared with placement and with the nodes that the cells know, and those that are wrong (a
provider was made anew, somebody took the aggregate away by hand) say so from then on, for the other look to mend.
Aggregates of a provider that nobody put there from here are never taken away.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, exists, or_, select, update

from protonova.services.api import tables
from protonova.services.api.aggregates.mirror import MIRROR
from protonova.services.api.aggregates.placement import ProviderAggregates
from protonova.services.api.hosts import HostDirectory
from protonova.services.runtime.config import Conf
from protonova.services.runtime.database import Database
from protonova.services.runtime.operations import Engine
from protonova.services.runtime.upkeep import Work

_log = logging.getLogger("protonova.api")
_aggregates, _hosts = tables.aggregates, tables.aggregate_hosts
_operations = tables.operation_tables.operations
_BATCH = 500

_IDLE = ~exists().where(_operations.c.subject == _aggregates.c.id, _operations.c.finished_at.is_(None))
_MEMBERS = select(_aggregates.c.id, _aggregates.c.number, _hosts.c.host, _hosts.c.node_id).join(
    _hosts, _hosts.c.aggregate_number == _aggregates.c.number
)
_UNMIRRORED = (
    _MEMBERS.where(_hosts.c.mirrored.is_(False), _IDLE)
    .where(
        or_(
            _aggregates.c.number > bindparam("after_number"),
            and_(_aggregates.c.number == bindparam("after_number"), _hosts.c.host > bindparam("after_host")),
        )
    )
    .order_by(_aggregates.c.number, _hosts.c.host)
    .limit(_BATCH)
)
_BEGINNING = {"after_number": 0, "after_host": ""}


class AggregateUpkeep:
    """The two looks."""

    def __init__(
        self, conf: Conf, db: Database, engine: Engine, hosts: HostDirectory, placement: ProviderAggregates
    ) -> None:
        self._conf = conf
        self._db = db
        self._engine = engine
        self._directory = hosts
        self._placement = placement
        # Where the next look goes on, so that hosts which never come do not hide those behind them.
        self._place: dict[str, Any] = _BEGINNING

    def works(self) -> list[Work]:
        own = self._conf.api
        return [
            Work(
                "aggregate-mend",
                "Tells placement of hosts of aggregates that it does not know there yet.",
                own.aggregate_mend_seconds,
                self.mend,
            ),
            Work(
                "aggregate-compare",
                "Compares what placement knows of aggregates with what it should.",
                own.aggregate_compare_seconds,
                self.compare,
            ),
        ]

    def mend(self) -> int:
        """How many hosts are on their way to placement because of this look."""
        rows = self._db.read(lambda connection: connection.execute(_UNMIRRORED, self._place).all())
        whole = len(rows) == _BATCH
        self._place = {"after_number": rows[-1].number, "after_host": rows[-1].host} if whole else _BEGINNING
        if not rows:
            return 0
        nodes = self._directory.nodes(sorted({row.host for row in rows})).by_host
        there = {host for host, node in nodes.items() if self._placement.is_there(node.id)}
        by_aggregate: dict[str, dict[str, str]] = {}
        for row in rows:
            if row.host in there:
                by_aggregate.setdefault(row.id, {})[row.host] = row.node_id
        return sum(self._begin(aggregate_id, some) for aggregate_id, some in by_aggregate.items())

    def compare(self) -> int:
        """How many rows were wrong."""
        wrong = 0
        for aggregate_id in self._db.read(lambda c: list(c.scalars(select(_aggregates.c.id)))):
            rows = self._db.read(functools.partial(_mirrored, aggregate_id=aggregate_id))
            if not rows:
                continue
            members = self._placement.members(aggregate_id)
            for start in range(0, len(rows), _BATCH):
                some = rows[start : start + _BATCH]
                nodes = self._directory.nodes([row.host for row in some]).by_host
                for row in some:
                    node = nodes.get(row.host)
                    if row.node_id not in members or (node is not None and node.id != row.node_id):
                        self._db.write(functools.partial(_doubt, row=row))
                        wrong += 1
        if wrong:
            _log.warning("%d hosts of aggregates are not in placement as they should", wrong)
        return wrong

    def _begin(self, aggregate_id: str, hosts: dict[str, str]) -> int:
        def begin(connection: Connection) -> str:
            # Two replicas that look at the same time wait for each other here.
            connection.execute(
                select(_aggregates.c.id).where(_aggregates.c.id == aggregate_id).with_for_update()
            ).first()
            idle = connection.execute(select(_aggregates.c.id).where(_aggregates.c.id == aggregate_id, _IDLE))
            if idle.first() is None:
                return ""
            return self._engine.create(connection, MIRROR, aggregate_id, {"hosts": hosts})

        operation = self._db.write(begin)
        if operation:
            self._engine.run(operation)
        return len(hosts) if operation else 0


def _mirrored(connection: Connection, aggregate_id: str) -> Sequence[Any]:
    query = _MEMBERS.where(_aggregates.c.id == aggregate_id, _hosts.c.mirrored.is_(True), _IDLE)
    return connection.execute(query.order_by(_hosts.c.host)).all()


def _doubt(connection: Connection, row: Row[Any]) -> None:
    connection.execute(
        update(_hosts)
        .where(_hosts.c.aggregate_number == row.number, _hosts.c.host == row.host)
        .where(_hosts.c.node_id == row.node_id)
        .values(mirrored=False)
    )
