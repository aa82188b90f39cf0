"""What servers count for beside their flavor while they are being resized.

At the door a resize is charged for what the new flavor has more. From then on the charge is the move's: its
conductor settles it when the move ends, whichever way. A charge whose move no cell knows (the api service died, or
the call was lost) is given back by the operation `settle_charge`, which is written with every charge and looks a
while later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, delete, insert, select, update

from protonova.common.v1.flavor_pb2 import Flavor
from protonova.common.v1.server_pb2 import Server
from protonova.conductor.v1 import migration_pb2 as conductor_pb
from protonova.services.api import tables, usage
from protonova.services.api.cells import Cells
from protonova.services.runtime import errors
from protonova.services.runtime.config import Conf
from protonova.services.runtime.operations import Kind, Outcome, Run, Step

_charges, _mappings = tables.move_charges, tables.instance_mappings

KIND = "settle_charge"
Limits = Sequence[Mapping[str, int]]


def add(connection: Connection, server: Server, flavor: Flavor, migration_id: str, limits: Limits) -> None:
    """Charges project and user, each by its limits, for what a flavor has more. Raises QUOTA_EXCEEDED."""
    more = {
        "cores": max(0, flavor.vcpus - server.flavor.vcpus),
        "ram": max(0, flavor.memory_mb - server.flavor.memory_mb),
    }
    owners = ["", server.user_id] if server.user_id else [""]
    for user_id, own in zip(owners, limits, strict=False):
        usage.charge(connection, server.project_id, user_id, more, own)
    connection.execute(
        insert(_charges).values(
            migration_id=migration_id,
            server_id=server.id,
            project_id=server.project_id,
            user_id=server.user_id,
            vcpus=more["cores"],
            memory_mb=more["ram"],
        )
    )


def remove(connection: Connection, migration_id: str) -> None:
    """Gives a charge back, once however often it is called."""
    row = connection.execute(select(_charges).where(_charges.c.migration_id == migration_id)).first()
    if row is None:
        return
    gone = connection.execute(delete(_charges).where(_charges.c.migration_id == migration_id))
    if gone.rowcount == 1:
        amounts = _amounts(row.vcpus, row.memory_mb)
        usage.give_back(connection, {(row.project_id, row.user_id): amounts})


def remove_of(
    connection: Connection, server_ids: Sequence[str]
) -> list[tuple[tuple[str, str], dict[str, int]]]:
    """Forgets the charges of servers that are gone; what they were, by (project, user), is the caller's to give
    back."""
    found = []
    for row in connection.execute(
        select(_charges).where(_charges.c.server_id.in_(list(server_ids))).order_by(_charges.c.migration_id)
    ).all():
        gone = connection.execute(delete(_charges).where(_charges.c.migration_id == row.migration_id))
        if gone.rowcount == 1:
            found.append(((row.project_id, row.user_id), _amounts(row.vcpus, row.memory_mb)))
    return found


def settle(connection: Connection, server_id: str, migration_id: str, flavor: Flavor) -> None:
    """The server counts for its flavor alone from now on. Raises SERVER_NOT_FOUND."""
    row = connection.execute(
        select(
            _mappings.c.project_id,
            _mappings.c.user_id,
            _mappings.c.vcpus,
            _mappings.c.memory_mb,
            _mappings.c.summary,
        )
        .where(_mappings.c.id == server_id, _mappings.c.deleted_at.is_(None))
        .with_for_update()
    ).first()
    if row is None:
        raise errors.NotFound(
            f"Instance {server_id} could not be found.", reason="SERVER_NOT_FOUND", server_id=server_id
        )
    summary = Server.FromString(row.summary)
    summary.flavor.CopyFrom(flavor)
    written = connection.execute(
        update(_mappings)
        .where(
            _mappings.c.id == server_id,
            _mappings.c.deleted_at.is_(None),
            _mappings.c.vcpus == row.vcpus,
            _mappings.c.memory_mb == row.memory_mb,
        )
        .values(vcpus=flavor.vcpus, memory_mb=flavor.memory_mb, summary=summary.SerializeToString())
    )
    if written.rowcount != 1:
        raise errors.Aborted("The server was settled meanwhile.", reason="CONCURRENT_UPDATE")
    less = _amounts(row.vcpus - flavor.vcpus, row.memory_mb - flavor.memory_mb)
    usage.give_back(connection, {(row.project_id, row.user_id): less})
    remove(connection, migration_id)


class Settle(Step):
    name = "settle"

    def __init__(self, cells: Cells, conf: Conf) -> None:
        super().__init__(timeout=float(conf.api.cleanup_timeout))
        self._cells = cells
        self._patience = float(conf.api.cell_timeout)

    def do(self, run: Run) -> Outcome | None:
        conductor = self._cells.conductor(run.payload["cell"])
        question = conductor_pb.ListMigrationsRequest(id=run.subject)
        if conductor.call(conductor.migrations.ListMigrations, question, self._patience).migrations:
            # Its conductor settles it.
            return None
        return Outcome(apply=lambda connection: remove(connection, run.subject))


class SettleCharge(Kind):
    name = KIND

    def __init__(self, cells: Cells, conf: Conf) -> None:
        self.deadline_seconds = float(conf.api.cleanup_timeout) * 2
        self.steps = [Settle(cells, conf)]


def _amounts(vcpus: int, memory_mb: int) -> dict[str, int]:
    return {**dict.fromkeys(usage.COUNTED, 0), "cores": vcpus, "ram": memory_mb}
