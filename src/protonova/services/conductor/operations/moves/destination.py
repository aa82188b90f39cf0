"""The first steps of every move: a host is chosen and claimed, then the claims change over.

A destination that refuses is not the end of a move: all is undone and the move begins anew with the next alternate.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import Connection

from protonova.common.v1.migration_pb2 import Migration, MigrationStatus
from protonova.common.v1.resources_pb2 import Destination
from protonova.common.v1.server_pb2 import Server
from protonova.scheduler.v1 import scheduler_pb2
from protonova.services.conductor import faults
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.moves import store
from protonova.services.conductor.operations.moves import claims
from protonova.services.runtime import errors
from protonova.services.runtime.operations import FAILED, Outcome, Restart, Run, Step

NO_HOST = "No valid host was found."


def payload(migration: Migration, spec: scheduler_pb2.RequestSpec, **rest: Any) -> dict[str, Any]:
    """What the steps of a move work by."""
    return {
        "migration": migration.id,
        "spec": base64.b64encode(spec.SerializeToString()).decode(),
        **rest,
    }


def spec_of(run: Run) -> scheduler_pb2.RequestSpec:
    return scheduler_pb2.RequestSpec.FromString(base64.b64decode(run.payload["spec"]))


def load(cell: Cell, run: Run) -> tuple[Server, Migration]:
    """Server and migration, wherever the server is: a move between cells has them here in any case."""

    def read(connection: Connection) -> tuple[Server, Migration]:
        server = cell.servers.get(connection, run.subject, away=True)
        return server, store.get(connection, run.payload["migration"])

    return cell.db.read(read)


def chosen(run: Run) -> Destination:
    """Where this round goes."""
    return Destination.FromString(base64.b64decode(run.memory["destinations"][_round(run)]))


def crosses(cell: Cell, run: Run) -> bool:
    """Whether this round goes to another cell."""
    return bool(run.memory.get("destinations")) and chosen(run).cell_id not in ("", cell.id)


def tries_another(cell: Cell, run: Run, error: errors.Error | None) -> bool:
    """Whether a failed move begins anew elsewhere: the fault is its destination's, and there is an alternate."""
    stays = run.memory.get("at") == "source" or "lost" in run.memory
    if error is None or stays or run.state == FAILED:
        # An operation that an operator gave up goes nowhere any more.
        return False
    destinations = run.memory.get("destinations", ())
    most = int(cell.conf.migrate_max_retries)
    within = most < 0 or _round(run) < most
    return faults.another_host_may_do(error) and within and _round(run) + 1 < len(destinations)


def another(run: Run) -> Restart:
    return Restart(
        {"destination": _round(run) + 1, "destinations": run.memory["destinations"]},
    )


class Schedule(Step):
    name = "schedule"
    event = "conductor_migrate_server"

    def __init__(self, cell: Cell, reached: MigrationStatus.ValueType) -> None:
        super().__init__(
            timeout=cell.conf.conductor.schedule_timeout, undo_timeout=cell.conf.conductor.cleanup_timeout
        )
        self._cell = cell
        self._reached = reached

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, migration = load(cell, run)
        memory: dict[str, Any] = {}
        if _round(run):
            found = chosen(run)
            claims.place(cell, server, [migration.source_host, found.host])
            claims.claim(cell, server, migration.id, found.allocations)
        else:
            destinations = self._select(run, server, migration)
            memory["destinations"] = [
                base64.b64encode(each.SerializeToString()).decode() for each in destinations
            ]
            found = destinations[0]
        memory["held"] = claims.kept(claims.held(cell, server.id))
        host = cell.host(found.host)

        def apply(connection: Connection) -> None:
            def alter(changed: Migration) -> None:
                changed.dest_host = found.host
                changed.dest_node = found.node
                changed.dest_ip = host.report.host_ip if host else ""
                changed.cross_cell = found.cell_id not in ("", cell.id)
                changed.other_cell_id = found.cell_id if changed.cross_cell else ""
                changed.status = self._reached

            store.change(connection, migration.id, alter)

        return Outcome(memory=memory, apply=apply)

    def undo(self, run: Run) -> Outcome:
        cell = self._cell
        server, migration = load(cell, run)
        claims.release(cell, migration.id)
        claims.place(cell, server, [migration.source_host])

        def forget(changed: Migration) -> None:
            changed.dest_host = changed.dest_node = changed.dest_ip = changed.other_cell_id = ""
            changed.cross_cell = False

        def apply(connection: Connection) -> None:
            store.change(connection, migration.id, forget)

        return Outcome(apply=apply)

    def _select(self, run: Run, server: Server, migration: Migration) -> list[Destination]:
        alternates = int(self._cell.conf.scheduler.max_attempts) - 1
        answer = self._cell.outside.scheduler.SelectDestinations(
            scheduler_pb2.SelectDestinationsRequest(
                spec=spec_of(run),
                server_ids=[migration.id],
                max_alternates=alternates,
                move=scheduler_pb2.Move(server_id=server.id, source_host=migration.source_host),
            )
        )
        selection = answer.selections[0]
        if not selection.HasField("destination"):
            raise errors.FailedPrecondition(
                f"{NO_HOST} {selection.failure.removeprefix(NO_HOST).strip()}".strip(),
                reason="NO_VALID_HOST",
            )
        return [selection.destination, *selection.alternates]


class ChangeOver(Step):
    """The server holds its destination, the migration what the server held."""

    name = "claim"

    def __init__(self, cell: Cell) -> None:
        super().__init__(undo_timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome | None:
        server, migration = load(self._cell, run)
        source = claims.recalled(run.memory["held"])
        claims.assign(self._cell, server, migration.id, chosen(run).allocations, source)
        return None

    def undo(self, run: Run) -> Outcome | None:
        server, migration = load(self._cell, run)
        claims.assign(
            self._cell, server, migration.id, claims.recalled(run.memory["held"]), claims.recalled("")
        )
        return None


def _round(run: Run) -> int:
    memory: Mapping[str, Any] = run.memory
    return int(memory.get("destination", 0))
