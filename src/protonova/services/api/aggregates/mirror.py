"""The operation `mirror_aggregate`: placement learns which hosts are in an aggregate.

It is written with each change of an aggregate's hosts and names those that came or went, with the provider each
was mirrored to before. Whether a host is in the aggregate is read when the work is done, so that operations that
were held up do what is right then. `find` learns which provider a host is and commits that before `mirror` touches
it: whoever takes the host out later knows where to look.

A host without a provider (new, or its cell is silent) is passed over and stays unmirrored in its row; the upkeep
begins another operation when the provider is there.
"""

from __future__ import annotations

from sqlalchemy import Connection, ScalarSelect, select, update

from protonova.services.api import tables
from protonova.services.api.aggregates.placement import ProviderAggregates
from protonova.services.api.hosts import HostDirectory
from protonova.services.runtime.config import Conf
from protonova.services.runtime.database import Database
from protonova.services.runtime.operations import Kind, Outcome, Run, Step

MIRROR = "mirror_aggregate"

_aggregates, _hosts = tables.aggregates, tables.aggregate_hosts


class Find(Step):
    name = "find"

    def __init__(self, hosts: HostDirectory) -> None:
        super().__init__()
        self._directory = hosts

    def do(self, run: Run) -> Outcome:
        nodes = self._directory.nodes(sorted(run.payload["hosts"]))
        found = {host: node.id for host, node in nodes.by_host.items()}

        def apply(connection: Connection) -> None:
            for host, node_id in found.items():
                connection.execute(
                    update(_hosts)
                    .where(_hosts.c.aggregate_number == _number(run.subject), _hosts.c.host == host)
                    .where(_hosts.c.node_id != node_id)
                    .values(node_id=node_id, mirrored=False)
                )

        return Outcome(memory={"nodes": found}, apply=apply)


class Mirror(Step):
    name = "mirror"

    def __init__(self, db: Database, placement: ProviderAggregates, conf: Conf) -> None:
        super().__init__()
        self._db = db
        self._placement = placement
        self.timeout = float(conf.api.cleanup_timeout)

    def do(self, run: Run) -> Outcome:
        hosts: dict[str, str] = run.payload["hosts"]
        inside = self._db.read(lambda connection: _inside(connection, run.subject, list(hosts)))
        mirrored: dict[str, str] = {}
        for host, former in sorted(hosts.items()):
            run.check()
            node = run.memory["nodes"].get(host, "")
            if former and (host not in inside or node not in ("", former)):
                self._placement.put(former, run.subject, member=False)
            if node and self._placement.put(node, run.subject, member=host in inside) and host in inside:
                mirrored[host] = node

        def apply(connection: Connection) -> None:
            for host, node in mirrored.items():
                connection.execute(
                    update(_hosts)
                    .where(_hosts.c.aggregate_number == _number(run.subject), _hosts.c.host == host)
                    .where(_hosts.c.node_id == node)
                    .values(mirrored=True)
                )

        return Outcome(apply=apply)


class MirrorAggregate(Kind):
    """Its subject is the aggregate's id, so that the changes of one aggregate are mirrored in their order."""

    name = MIRROR

    def __init__(self, db: Database, hosts: HostDirectory, placement: ProviderAggregates, conf: Conf) -> None:
        self.deadline_seconds = float(conf.api.cleanup_timeout) * 2
        self.steps = [Find(hosts), Mirror(db, placement, conf)]


def _number(aggregate_id: str) -> ScalarSelect[int]:
    return select(_aggregates.c.number).where(_aggregates.c.id == aggregate_id).scalar_subquery()


def _inside(connection: Connection, aggregate_id: str, hosts: list[str]) -> set[str]:
    query = select(_hosts.c.host).where(
        _hosts.c.aggregate_number == _number(aggregate_id), _hosts.c.host.in_(hosts)
    )
    return set(connection.scalars(query))
