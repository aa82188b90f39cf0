"""Hosts of all cells, as their conductors tell of them. Nothing here is the truth: hosts belong to their cells.

`HostDirectory` answers "is there such a host or zone" from what was heard at most a few seconds ago, and asks anew
before it says no. Which cell a host was last seen in is kept in the database, to name the hosts of a silent cell.

The zone of a host is that of its aggregate, and where none says anything the one its agent declares: what this
directory answers with has it so, except `nodes`, which tells what cells say.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, select, tuple_

from protonova.common.v1.host_pb2 import ComputeService, Hypervisor
from protonova.conductor.v1 import host_pb2
from protonova.services.api import tables
from protonova.services.api.aggregates import store
from protonova.services.api.cells import Cells
from protonova.services.api.fan_out import FanOut
from protonova.services.runtime import database
from protonova.services.runtime.database import Database

_mappings = tables.host_mappings
COMPUTE = "nova-compute"


@dataclass(frozen=True)
class Nodes:
    """Hypervisor nodes by host, and for hosts last seen in a cell that does not answer that cell's id."""

    by_host: dict[str, Hypervisor] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)


class HostDirectory:
    def __init__(self, db: Database, cells: Cells, fan_out: FanOut, seconds: float, timeout: float) -> None:
        self._db = db
        self._cells = cells
        self._fan_out = fan_out
        self._seconds = seconds
        self._timeout = timeout
        self._lock = threading.Lock()
        self._by_cell: dict[str, list[ComputeService]] = {}
        self._heard_at = float("-inf")

    def services(
        self, host: str = "", binary: str = "", *, with_missing: bool = False
    ) -> list[ComputeService]:
        """Asks every cell. Hosts of cells that do not answer come as partial records `with_missing`."""
        request = host_pb2.ListComputeServicesRequest(host=host, binary=binary)
        answers = self._fan_out.ask(
            self._cells.conductors(),
            lambda conductor: conductor.call(conductor.hosts.ListComputeServices, request, self._timeout),
        )
        found: list[ComputeService] = []
        for cell_id, answer in answers.by_cell.items():
            for service in answer.services:
                service.cell_id = cell_id
                found.append(service)
        self._note(found)
        if with_missing and answers.missing:
            found += self._db.read(lambda connection: _last_seen(connection, answers.missing, host, binary))
        if not host and not binary:
            self._remember(found, answers.missing)
        return self.zoned(found)

    def nodes(self, hosts: Sequence[str], *, with_servers: bool = False) -> Nodes:
        """Some hundred hosts at most, as their cells tell of them."""
        if not hosts:
            return Nodes()
        request = host_pb2.ListHypervisorsRequest(hosts=hosts, with_servers=with_servers)
        answers = self._fan_out.ask(
            self._cells.conductors(),
            lambda conductor: conductor.call(conductor.hosts.ListHypervisors, request, self._timeout),
        )
        found = Nodes()
        for cell_id, answer in answers.by_cell.items():
            for node in answer.hypervisors:
                node.service.cell_id = cell_id
                found.by_host[node.service.host] = node
        left = [host for host in hosts if host not in found.by_host]
        if left and answers.missing:
            seen = self._db.read(lambda connection: _cells_of(connection, [(host, COMPUTE) for host in left]))
            found.silent.update((host, cell) for (host, _), cell in seen.items() if cell in answers.missing)
        return found

    def zoned(self, services: Sequence[ComputeService]) -> list[ComputeService]:
        """The services with the zones their hosts are in; of those that are partial nothing is known."""
        by_aggregate = self._db.read(store.zones)
        found = []
        for service in services:
            zone = by_aggregate.get(service.host)
            if zone and not service.partial and service.availability_zone != zone:
                # What cells said is kept as they said it.
                declared, service = service, ComputeService()
                service.CopyFrom(declared)
                service.availability_zone = zone
            found.append(service)
        return found

    def knows_zone(self, zone: str) -> bool:
        if self._db.read(lambda connection: store.has_zone(connection, zone)):
            return True
        if zone in self._zones(fresh=True):
            return True
        self.services()
        return zone in self._zones(fresh=False)

    def knows_host(self, host: str) -> bool:
        return host in self._hosts() or bool(self.services(host=host, with_missing=True))

    def knows_node(self, node: str, host: str) -> bool:
        request = host_pb2.ListHypervisorsRequest(hostname_pattern=node)
        answers = self._fan_out.ask(
            self._cells.conductors(),
            lambda conductor: conductor.call(conductor.hosts.ListHypervisors, request, self._timeout),
        )
        return any(
            hypervisor.hostname == node and (not host or hypervisor.service.host == host)
            for answer in answers.by_cell.values()
            for hypervisor in answer.hypervisors
        )

    def forget(self) -> None:
        """Asks anew before the next answer: a host was removed from its cell."""
        with self._lock:
            self._heard_at = float("-inf")

    def _zones(self, *, fresh: bool) -> set[str]:
        heard = self._heard(fresh=fresh)
        return {service.availability_zone for service in self.zoned(heard)} if heard else set()

    def _hosts(self) -> set[str]:
        return {service.host for service in self._heard(fresh=True)}

    def _heard(self, *, fresh: bool) -> list[ComputeService]:
        """What was heard last; `fresh`: nothing when that is too long ago."""
        with self._lock:
            if fresh and time.monotonic() - self._heard_at > self._seconds:
                return []
            return [service for services in self._by_cell.values() for service in services]

    def _remember(self, services: Iterable[ComputeService], missing: Iterable[str]) -> None:
        by_cell: dict[str, list[ComputeService]] = {}
        for service in services:
            if not service.partial:
                by_cell.setdefault(service.cell_id, []).append(service)
        with self._lock:
            # What a silent cell said before is still the best there is to know of it.
            for cell_id in missing:
                by_cell[cell_id] = self._by_cell.get(cell_id, [])
            self._by_cell = by_cell
            self._heard_at = time.monotonic()

    def _note(self, services: Iterable[ComputeService]) -> None:
        """Keeps where hosts are; writes only what is new."""
        seen = {(service.host, service.binary): service.cell_id for service in services}
        if not seen:
            return
        known = self._db.read(lambda connection: _cells_of(connection, list(seen)))
        new = [
            {"host": host, "binary_name": binary, "cell_id": cell_id}
            for (host, binary), cell_id in sorted(seen.items())
            if known.get((host, binary)) != cell_id
        ]

        def write(connection: Connection) -> None:
            for row in new:
                database.upsert(connection, _mappings, row, ("host", "binary_name"))

        if new:
            self._db.write(write)


def _cells_of(connection: Connection, keys: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for start in range(0, len(keys), 400):
        some = keys[start : start + 400]
        rows = connection.execute(
            select(_mappings).where(tuple_(_mappings.c.host, _mappings.c.binary_name).in_(some))
        )
        found.update({(row.host, row.binary_name): row.cell_id for row in rows})
    return found


def _last_seen(connection: Connection, cell_ids: list[str], host: str, binary: str) -> list[ComputeService]:
    query = select(_mappings).where(_mappings.c.cell_id.in_(cell_ids)).order_by(_mappings.c.host)
    if host:
        query = query.where(_mappings.c.host == host)
    if binary:
        query = query.where(_mappings.c.binary_name == binary)
    return [
        ComputeService(host=row.host, binary=row.binary_name, cell_id=row.cell_id, partial=True)
        for row in connection.execute(query)
    ]
