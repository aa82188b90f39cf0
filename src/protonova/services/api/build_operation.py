"""The operation `build`: from accepted build requests to servers in their cells.

It owns build requests that are being built, from their acceptance until the last of them is in a cell, in error, or
gone. `schedule` finds hosts and claims them; from its commit on the servers are bound for a cell. `hand_over` gives
them to the conductors, and once committed the mappings name the cells. A cell that cannot be reached while another
can is tried longer by `hand_over_rest`, so that it holds up nobody else.

A server deleted before `schedule` commits is simply gone, and its claim is given back by `hand_over`. One deleted
later goes to its cell all the same, and is deleted there: only so it is sure that nothing is left of it. When the
hand-over fails for good, the cells are asked which servers they have after all: those are theirs. The claims of
the others are given back, and they stay as build requests in error.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from protonova.common.v1.resources_pb2 import Destination
from protonova.common.v1.server_pb2 import Fault, Server
from protonova.conductor.v1 import server_pb2 as conductor_pb
from protonova.conductor.v1.server_pb2 import ServerBuild
from protonova.scheduler.v1.scheduler_pb2 import RequestSpec, Selection
from protonova.services.api import builds, hint_hosts, idempotency, no_host, tables
from protonova.services.api.cells import Cells
from protonova.services.api.creation.accept import BUILD
from protonova.services.api.neighbours import Neighbours
from protonova.services.runtime import errors
from protonova.services.runtime.config import Conf
from protonova.services.runtime.database import Database
from protonova.services.runtime.operations import Kind, Outcome, Run, Step
from protonova.services.runtime.operations.forgetting import conceal

_builds, _mappings = tables.build_requests, tables.instance_mappings


@dataclass(frozen=True)
class _Bound:
    """A server on its way to a cell."""

    server: Server
    cell_id: str
    deleted: bool


class Schedule(Step):
    name = "schedule"
    event = "schedule"

    def __init__(self, db: Database, cells: Cells, neighbours: Neighbours, conf: Conf) -> None:
        super().__init__()
        self._db = db
        self._cells = cells
        self._neighbours = neighbours
        self._patience = float(conf.api.cell_timeout)
        self.timeout = float(conf.api.build_timeout)
        self.undo_timeout = float(conf.api.cleanup_timeout)

    def do(self, run: Run) -> Outcome | None:
        wanted = run.payload["servers"]
        there = self._db.read(lambda connection: builds.waiting(connection, wanted))
        # An earlier try may have claimed for one that was deleted since, and never heard of it.
        gone = set(wanted) - set(there)
        if gone and (homeless := self._db.read(lambda connection: _homeless(connection, gone))):
            self._neighbours.release(homeless)
        if not there:
            return None
        ids = [server_id for server_id in wanted if server_id in there]
        spec = RequestSpec.FromString(base64.b64decode(run.payload["spec"]))
        hint_hosts.fill(spec, self._db, self._cells, self._patience)
        selections = self._neighbours.select(spec, ids)
        chosen = {one.server_id: one for one in selections if one.HasField("destination")}
        failures = {one.server_id: one for one in selections if one.server_id not in chosen}
        if len(chosen) < min(run.payload["least"], len(ids)):
            self._neighbours.release(ids)
            why = next(iter(failures.values()))
            failures, chosen = dict.fromkeys(ids, why), {}
        elif failures:
            # An earlier try may have claimed for them, and never told.
            self._neighbours.release(failures)

        def apply(connection: Connection) -> None:
            builds.aim(connection, {key: one.destination.cell_id for key, one in chosen.items()})
            if failures:
                faults = {key: no_host.fault(why) for key, why in failures.items()}
                builds.fail(connection, faults, _now(self._db, connection))

        return Outcome(memory={"selections": {key: _kept(one) for key, one in chosen.items()}}, apply=apply)

    def undo(self, run: Run) -> Outcome | None:
        ids = self._db.read(lambda connection: _homeless(connection, run.payload["servers"]))
        if ids:
            self._neighbours.release(ids)
        return None


class HandOver(Step):
    """Gives servers to the conductors of their cells. `strict`: all that are left, or none."""

    name = "hand_over"

    def __init__(
        self, db: Database, cells: Cells, neighbours: Neighbours, conf: Conf, *, strict: bool
    ) -> None:
        super().__init__("hand_over_rest" if strict else "hand_over")
        self._db = db
        self._cells = cells
        self._neighbours = neighbours
        self._strict = strict
        self._patience = float(conf.api.cell_timeout)
        self.timeout = float(conf.api.build_timeout)
        self.undo_timeout = float(conf.api.cleanup_timeout)

    def needed(self, run: Run) -> bool:
        return bool(run.memory.get("unreached" if self._strict else "selections"))

    def do(self, run: Run) -> Outcome | None:
        selections = run.memory["selections"]
        bound = self._db.read(lambda connection: _bound(connection, selections))
        if gone := self._db.read(lambda connection: _homeless(connection, set(selections) - set(bound))):
            self._neighbours.release(gone)
        build = ServerBuild.FromString(base64.b64decode(run.payload["build"]))
        homes: dict[str, str] = {}
        failures: dict[str, errors.Error] = {}
        for cell_id, some in sorted(_by_cell(selections, bound, build).items()):
            try:
                self._give(cell_id, some)
            except errors.Error as error:
                if self._strict or not error.transient:
                    raise
                failures[cell_id] = error
            else:
                homes.update({one.server.id: cell_id for one in some})
        if failures and not homes:
            raise next(iter(failures.values()))
        return self._settled(homes, bound, memory={"unreached": sorted(failures)})

    def undo(self, run: Run) -> Outcome | None:
        """Whatever a cell has after all is its own."""
        bound = self._db.read(lambda connection: _bound(connection, run.memory.get("selections", {})))
        homes: dict[str, str] = {}
        for server_id, bound_server in bound.items():
            conductor = self._cells.conductor(bound_server.cell_id)
            question = conductor_pb.GetServerRequest(id=server_id, include_deleted=True)
            try:
                conductor.call(conductor.servers.GetServer, question, self._patience)
            except errors.NotFound:
                continue
            homes[server_id] = bound_server.cell_id
        return self._settled(homes, bound, memory={})

    def _give(self, cell_id: str, some: list[ServerBuild]) -> None:
        conductor = self._cells.conductor(cell_id)
        request = conductor_pb.CreateServersRequest(builds=some)
        conductor.call(conductor.servers.CreateServers, request, self._patience)

    def _settled(
        self, homes: Mapping[str, str], bound: Mapping[str, _Bound], memory: dict[str, Any]
    ) -> Outcome:
        """The servers are in their cells; those deleted meanwhile are deleted there."""
        honoured = {server_id for server_id in homes if bound[server_id].deleted}
        for server_id in sorted(honoured):
            conductor = self._cells.conductor(homes[server_id])
            question = conductor_pb.DeleteServerRequest(id=server_id)
            try:
                conductor.call(conductor.servers.DeleteServer, question, self._patience)
            except errors.NotFound:
                continue

        def apply(connection: Connection) -> None:
            if builds.settle(connection, homes) - honoured:
                raise errors.Aborted(
                    "A server was deleted while it was handed over.", reason="DELETED_MEANWHILE"
                )

        return Outcome(memory=memory, apply=apply)


class Build(Kind):
    name = BUILD

    def __init__(self, db: Database, cells: Cells, neighbours: Neighbours, conf: Conf) -> None:
        self._db = db
        self.deadline_seconds = float(conf.api.build_timeout) * 10
        self.steps = [
            Schedule(db, cells, neighbours, conf),
            HandOver(db, cells, neighbours, conf, strict=False),
            HandOver(db, cells, neighbours, conf, strict=True),
        ]

    def finished(self, run: Run, connection: Connection) -> None:
        _forget(run, connection)

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> None:
        """Those that are still here stay in error."""
        left = builds.waiting(connection, run.payload["servers"])
        message = no_host.shortened(f"Build of the server was given up: {error.message}".strip())
        fault = Fault(code=no_host.CODE, message=message, details=error.reason)
        _forget(run, connection)
        builds.fail(connection, dict.fromkeys(left, fault), _now(self._db, connection))


def _bound(connection: Connection, server_ids: Iterable[str]) -> dict[str, _Bound]:
    """The servers that are being handed over."""
    rows = connection.execute(
        select(_builds.c.id, _builds.c.server, _builds.c.cell_id, _mappings.c.delete_requested_at)
        .join(_mappings, _mappings.c.id == _builds.c.id)
        .where(_builds.c.id.in_(list(server_ids)), _builds.c.cell_id.is_not(None))
    )
    return {
        row.id: _Bound(Server.FromString(row.server), row.cell_id, row.delete_requested_at is not None)
        for row in rows
    }


def _by_cell(
    selections: Mapping[str, Any], bound: Mapping[str, _Bound], build: ServerBuild
) -> dict[str, list[ServerBuild]]:
    """What each cell is to build."""
    by_cell: dict[str, list[ServerBuild]] = {}
    for server_id, one in bound.items():
        destination, alternates = _recalled(selections[server_id])
        whole = ServerBuild(server=one.server, destination=destination, alternates=alternates)
        whole.MergeFrom(build)
        by_cell.setdefault(one.cell_id, []).append(whole)
    return by_cell


def _homeless(connection: Connection, server_ids: Iterable[str]) -> list[str]:
    """Those of the servers no cell has: what is claimed for them is this service's to give back."""
    query = select(_mappings.c.id).where(_mappings.c.id.in_(list(server_ids)), _mappings.c.cell_id.is_(None))
    return list(connection.scalars(query))


def _kept(selection: Selection) -> dict[str, Any]:
    return {
        "destination": _encoded(selection.destination),
        "alternates": [_encoded(alternate) for alternate in selection.alternates],
    }


def _recalled(kept: Mapping[str, Any]) -> tuple[Destination, list[Destination]]:
    decode = base64.b64decode
    return (
        Destination.FromString(decode(kept["destination"])),
        [Destination.FromString(decode(alternate)) for alternate in kept["alternates"]],
    )


def _encoded(destination: Destination) -> str:
    return base64.b64encode(destination.SerializeToString()).decode()


def _forget(run: Run, connection: Connection) -> None:
    """Passwords, tokens and files are kept no longer than the build takes."""
    conceal(connection, tables.operation_tables, run, "build", "spec")
    idempotency.forget_password(connection, run.subject)


def _now(db: Database, connection: Connection) -> int:
    return int(connection.execute(select(db.now())).scalar_one())
