"""The kit's proofs of what must be true of all operations, for every kind of move and for both ends of a resize."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from protonova.common.v1.migration_pb2 import MigrationStatus, MigrationType
from protonova.common.v1.server_pb2 import Server, VmState
from protonova.conductor.v1 import migration_pb2 as pb
from protonova.conductor.v1.host_pb2 import HostReport
from protonova.placement.v1.allocation_pb2 import ConsumerAllocations
from protonova.scheduler.v1 import scheduler_pb2
from protonova.services.compute.spec import guest_spec
from protonova.services.conductor import cell as cells
from protonova.services.conductor import migrations, tables
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.hosts.store import Hosts
from protonova.services.conductor.moves import store
from protonova.services.conductor.operations.delete import Delete
from protonova.services.conductor.operations.moves.confirm import ConfirmResize
from protonova.services.conductor.operations.moves.evacuate import Evacuate
from protonova.services.conductor.operations.moves.live import LiveMigration
from protonova.services.conductor.operations.moves.resize import Resize
from protonova.services.conductor.operations.moves.revert import RevertResize
from protonova.services.conductor.operations.soft_delete import SoftDelete
from protonova.services.conductor.servers.listing import Listing
from protonova.services.conductor.service.begin import Beginnings
from protonova.services.conductor.service.history import History
from protonova.services.conductor.service.moves import Moves
from protonova.services.conductor.tables import operation_tables
from protonova.services.runtime import config, context, migration
from protonova.services.runtime.database import Database
from protonova.services.runtime.operations import Engine
from tests.support import operations as kit
from tests.support.conductor import new_server, node_id
from tests.support.moving import HOSTS, LARGE, SMALL, MovingEdges, place

# What moves that need no confirmation end as, and what they are when only the cleaning failed.
AWAY = {
    "live-migration": MigrationStatus.MIGRATION_STATUS_COMPLETED,
    "evacuate": MigrationStatus.MIGRATION_STATUS_DONE,
}
UNFINISHED = {
    "live-migration": [MigrationStatus.MIGRATION_STATUS_FAILED],
    "evacuate": [MigrationStatus.MIGRATION_STATUS_DONE],
}


class Moved:
    """Servers, each resized by itself (`kind` resize), or resized already and then confirmed, reverted or deleted
    softly."""

    def __init__(self, kind: str, url: str, directory: Path, edges: MovingEdges) -> None:
        self.kind = kind
        self.edges = edges
        self._url = url
        self._numbers = itertools.count(1)
        self._subjects: dict[str, tuple[str, str]] = {}
        self._conf = config.load(
            files=[],
            state_path=str(directory),
            placement__target=edges.targets["placement"],
            api__target=edges.targets["api"],
            database__connection=url,
            shutdown_timeout=0,
            reclaim_instance_interval=3600,
            **edges.options,
        )
        self._outside = cells.Outside(self._conf, networks=edges.networks, volumes=edges.volumes)
        with context.use(context.internal("test")):
            wired = cells.wire(self._conf, self._outside)
            migration.upgrade(wired.db, migrations.__name__)
            self._report(wired)
            wired.db.close()

    @property
    def last(self) -> str:
        """Within the cell; what a resize has after that is for one that leaves it."""
        return "finish" if self.kind == "resize" else ""

    def open(self, make: Callable[[str], Database]) -> Database:
        return make(self._url)

    def engine(self, db: Database) -> Engine:
        cell = self._cell(db)
        engine = Engine(
            db,
            operation_tables,
            [
                Resize(cell),
                ConfirmResize(cell),
                RevertResize(cell),
                LiveMigration(cell),
                Evacuate(cell),
                SoftDelete(cell),
                Delete(cell),
            ],
            owner=f"owner-{next(self._numbers)}",
            workers=4,
            lease_seconds=kit.LEASE_SECONDS,
            poll_seconds=kit.POLL_SECONDS,
            host="conductor",
        )
        engine.cell = cell  # type: ignore[attr-defined]
        return engine

    def begin(self, engine: Engine) -> str:
        cell: Cell = engine.cell  # type: ignore[attr-defined]
        moves = Moves(cell, Beginnings(cell, engine), History(cell))
        number = next(self._numbers)
        migration_id = f"00000000-0000-4000-9000-{number:012}"
        with context.use(context.internal("test")):
            server = self._server(cell)
            if self.kind == "resize":
                moves.cold(_request(server.id, migration_id))
            elif self.kind == "live-migration":
                moves.live(
                    pb.LiveMigrateServerRequest(
                        server_id=server.id, migration_id=migration_id, spec={"flavor": SMALL}
                    )
                )
            elif self.kind == "evacuate":
                moves.evacuate(
                    pb.EvacuateServerRequest(
                        server_id=server.id, migration_id=migration_id, spec={"flavor": SMALL}
                    )
                )
            else:
                self._resized(cell, server, migration_id)
                {
                    "confirmResize": moves.confirm,
                    "revertResize": moves.revert,
                    "soft_delete": Beginnings(cell, engine).delete,
                }[self.kind](server.id)
        operation_id = engine.list(subject=server.id, limit=1)[0].id
        self._subjects[operation_id] = (server.id, migration_id)
        return operation_id

    def preempt(self, engine: Engine, operation_id: str) -> str:
        cell: Cell = engine.cell  # type: ignore[attr-defined]
        server_id, _ = self._subjects[operation_id]
        with context.use(context.internal("test")):
            Beginnings(cell, engine).delete(server_id, force=True)
        return engine.list(subject=server_id, limit=1)[0].id

    def assert_done(self, operation_id: str) -> None:
        if self.kind in AWAY:
            self._assert_away(operation_id, AWAY[self.kind])
        elif self.kind == "resize":
            self._assert_resized(operation_id, MigrationStatus.MIGRATION_STATUS_FINISHED)
        elif self.kind in ("confirmResize", "soft_delete"):
            server_id, migration_id = self._subjects[operation_id]
            if self.kind == "soft_delete":
                self._assert_at(server_id, "host2", VmState.VM_STATE_SOFT_DELETED, LARGE.id, runs=False)
                assert server_id in self.edges.region.uncharged
            else:
                self._assert_at(server_id, "host2", VmState.VM_STATE_ACTIVE, LARGE.id)
            assert self.edges.held(migration_id) == {}
            assert self.edges.fakes.aside(server_id) == []
            self._assert_status(migration_id, MigrationStatus.MIGRATION_STATUS_CONFIRMED)
        else:
            server_id, migration_id = self._subjects[operation_id]
            self._assert_at(server_id, "host1", VmState.VM_STATE_ACTIVE, SMALL.id)
            assert self.edges.held(migration_id) == {}
            assert self.edges.fakes.aside(server_id) == []
            self._assert_status(migration_id, MigrationStatus.MIGRATION_STATUS_REVERTED)

    def assert_undone(self, operation_id: str) -> None:
        server_id, migration_id = self._subjects[operation_id]
        if self.kind in AWAY:
            server = self._read(lambda cell, c: cell.servers.get(c, server_id))
            if server.host == "host2":
                # The guest had gone: it stays there, whatever could not be done for it afterwards.
                self._assert_away(operation_id, *UNFINISHED[self.kind])
                return
            self._assert_at(server_id, "host1", VmState.VM_STATE_ACTIVE, SMALL.id, SMALL.vcpus)
            assert self.edges.held(migration_id) == {}
        elif self.kind == "resize":
            self._assert_at(server_id, "host1", VmState.VM_STATE_ACTIVE, SMALL.id)
            assert self.edges.held(migration_id) == {}
            assert self.edges.fakes.aside(server_id) == []
            self._assert_status(migration_id, MigrationStatus.MIGRATION_STATUS_ERROR)
        elif self._status(migration_id) == MigrationStatus.MIGRATION_STATUS_ERROR:
            # It failed when the server was back already: only what it left was not cleaned.
            self._assert_at(server_id, "host1", VmState.VM_STATE_ACTIVE, SMALL.id)
        else:
            self._assert_resized(operation_id, MigrationStatus.MIGRATION_STATUS_FINISHED)

    def assert_swept(self, operation_id: str) -> None:
        server_id, migration_id = self._subjects[operation_id]
        # What a dead host has is removed when it comes back.
        dead = {"host1"} if self.kind == "evacuate" else set()
        assert set(self.edges.fakes.where(server_id)) <= dead
        assert self.edges.fakes.aside(server_id) == []
        assert self.edges.held(server_id) == {}
        assert self.edges.held(migration_id) == {}

    # ---- inside

    def _cell(self, db: Database) -> Cell:
        wired = cells.wire(self._conf, self._outside)
        wired.db.close()
        hosts = Hosts(db, cell_id=wired.id, service_down_time=3600)
        return dataclasses.replace(wired, db=db, hosts=hosts, listing=Listing(db, wired.servers, 3600))

    def _report(self, cell: Cell) -> None:
        reports = [
            HostReport(host=name, node=name, node_id=node_id(name), agent_target=self.edges.targets["agent"])
            for name in HOSTS
        ]
        cell.db.write(lambda connection: cell.hosts.take(connection, reports))
        if self.kind == "evacuate":
            gone = sa.update(tables.hosts).where(tables.hosts.c.host == "host1").values(forced_down=True)
            cell.db.write(lambda connection: connection.execute(gone))

    def _server(self, cell: Cell) -> Server:
        """An active one, with its guest and its claims."""
        server = new_server(
            flavor=SMALL,
            host="host1",
            node="host1",
            availability_zone="nova",
            vm_state=VmState.VM_STATE_ACTIVE,
            power_state=1,
        )
        server.created_at.seconds = server.launched_at.seconds = 1
        cell.db.write(lambda connection: cell.servers.insert(connection, [server]))
        self._spawn("host1", server)
        self.edges.allocations.held[server.id] = _claim(server.id, "host1", SMALL)
        return server

    def _resized(self, cell: Cell, server: Server, migration_id: str) -> None:
        """As a resize leaves a server."""
        drivers = self.edges.fakes.drivers
        drivers["host1"].set_aside(server.id, migration_id, 0)
        self._spawn("host2", server)
        self.edges.allocations.held[server.id] = _claim(server.id, "host2", LARGE)
        self.edges.allocations.held[migration_id] = _claim(migration_id, "host1", SMALL)

        def write(connection: Any) -> None:
            def alter(changed: Server) -> None:
                changed.previous_vm_state = VmState.VM_STATE_ACTIVE
                changed.vm_state = VmState.VM_STATE_RESIZED
                changed.host = changed.node = "host2"
                changed.flavor.CopyFrom(LARGE)

            cell.servers.change(connection, server.id, alter)
            store.insert(
                connection,
                store.Migration(
                    id=migration_id,
                    server_id=server.id,
                    type=MigrationType.MIGRATION_TYPE_RESIZE,
                    status=MigrationStatus.MIGRATION_STATUS_FINISHED,
                    source_host="host1",
                    source_node="host1",
                    source_availability_zone="nova",
                    dest_host="host2",
                    dest_node="host2",
                    old_flavor=SMALL,
                    new_flavor=LARGE,
                    was_running=True,
                ),
            )

        cell.db.write(write)

    def _spawn(self, host: str, server: Server) -> None:
        self.edges.fakes.drivers[host].spawn(guest_spec(server))

    def _assert_resized(self, operation_id: str, status: int) -> None:
        server_id, migration_id = self._subjects[operation_id]
        self._assert_at(server_id, "host2", VmState.VM_STATE_RESIZED, LARGE.id)
        assert self.edges.held(migration_id) == {"host1": 1}
        assert self.edges.fakes.aside(server_id) == ["host1"]
        self._assert_status(migration_id, status)

    def _assert_away(self, operation_id: str, *statuses: int) -> None:
        """On its destination; what a dead host has is there still."""
        server_id, migration_id = self._subjects[operation_id]
        server = self._read(lambda cell, c: cell.servers.get(c, server_id))
        assert (server.host, server.vm_state, server.task_state) == ("host2", VmState.VM_STATE_ACTIVE, 0)
        there = set(self.edges.fakes.running(server_id))
        assert there <= ({"host1", "host2"} if self.kind == "evacuate" else {"host2"})
        assert "host2" in there
        assert self.edges.held(server_id) == {"host2": 1}
        assert self._status(migration_id) in statuses

    def _assert_at(
        self,
        server_id: str,
        host: str,
        vm_state: int,
        flavor: str,
        vcpus: int | None = None,
        *,
        runs: bool = True,
    ) -> None:
        server = self._read(lambda cell, c: cell.servers.get(c, server_id))
        assert (server.host, server.vm_state, server.task_state) == (host, vm_state, 0)
        assert server.flavor.id == flavor
        assert self.edges.fakes.running(server_id) == ([host] if runs else [])
        assert self.edges.fakes.where(server_id) == [host]
        own = SMALL.vcpus if flavor == SMALL.id else LARGE.vcpus
        assert self.edges.held(server_id) == {host: vcpus or own}

    def _assert_status(self, migration_id: str, status: int) -> None:
        assert self._status(migration_id) == status

    def _status(self, migration_id: str) -> int:
        return self._read(lambda cell, c: store.get(c, migration_id)).status

    def _read(self, fn: Callable[[Cell, Any], Any]) -> Any:
        db = Database(self._url)
        try:
            cell = self._cell(db)
            return db.read(lambda connection: fn(cell, connection))
        finally:
            db.close()


def _request(server_id: str, migration_id: str) -> pb.MoveServerRequest:
    return pb.MoveServerRequest(
        server_id=server_id,
        migration_id=migration_id,
        type=MigrationType.MIGRATION_TYPE_RESIZE,
        spec=scheduler_pb2.RequestSpec(project_id="project", flavor=LARGE),
    )


def _claim(consumer: str, host: str, flavor: Any) -> Any:
    return ConsumerAllocations(consumer_id=consumer, allocations=place(host, flavor).allocations)


ALL = ("resize", "confirmResize", "revertResize", "soft_delete", *AWAY)
kinds = pytest.mark.parametrize("case", ALL, indirect=True)


@pytest.fixture
def case(request: pytest.FixtureRequest, tmp_path: Path, edges: MovingEdges) -> Moved:
    edges.scheduler.hosts = ["host2"]
    return Moved(request.param, f"sqlite:///{tmp_path}/proven.sqlite", tmp_path, edges)


@pytest.mark.parametrize("case", ["resize", *AWAY], indirect=True)
def test_every_step_may_be_repeated(case: Moved) -> None:
    kit.prove_repeatable(case)


# A confirmation goes forward only.
@pytest.mark.parametrize("case", ["resize", "revertResize", *AWAY], indirect=True)
def test_whichever_step_fails_it_is_undone(case: Moved) -> None:
    kit.prove_undone(case)


@kinds
def test_another_replica_goes_on_after_a_killed_one(case: Moved) -> None:
    assert kit.prove_killed(case) >= 3


@pytest.mark.parametrize("case", ["resize"], indirect=True)
def test_another_replica_undoes_what_a_killed_one_was_undoing(case: Moved) -> None:
    assert kit.prove_killed(case, failing=True) >= 12


@kinds
def test_a_delete_may_arrive_at_any_step(case: Moved) -> None:
    kit.prove_preempted(case)
