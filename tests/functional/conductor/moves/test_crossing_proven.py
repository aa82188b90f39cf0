"""The kit's proofs for moves between two cells: the cell that drives the move dies, fails, or is told to delete the
server, while the other one serves it."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from protonova.common.v1.migration_pb2 import Migration, MigrationStatus, MigrationType
from protonova.common.v1.server_pb2 import PowerState, Server, VmState
from protonova.conductor.v1 import migration_pb2 as pb
from protonova.conductor.v1 import transfer_pb2
from protonova.conductor.v1.host_pb2 import HostReport
from protonova.placement.v1.allocation_pb2 import ConsumerAllocations
from protonova.scheduler.v1 import scheduler_pb2
from protonova.services.compute.spec import guest_spec
from protonova.services.conductor import cell as cells
from protonova.services.conductor import migrations
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.hosts.store import Hosts
from protonova.services.conductor.moves import store
from protonova.services.conductor.operations.kinds import kinds
from protonova.services.conductor.operations.moves import transfer
from protonova.services.conductor.operations.moves.crossing import ABANDON
from protonova.services.conductor.servers.listing import Listing
from protonova.services.conductor.service.begin import Beginnings
from protonova.services.conductor.service.history import History
from protonova.services.conductor.service.moves import Moves
from protonova.services.conductor.service.transfer import TransferServicer
from protonova.services.conductor.tables import operation_tables
from protonova.services.runtime import config, context, errors, migration
from protonova.services.runtime.database import Database
from protonova.services.runtime.operations import Engine
from tests.support import operations as kit
from tests.support.conductor import Conductor, new_server, node_id
from tests.support.crossing import FAR, FAR_HOSTS, NEAR, CrossingEdges
from tests.support.databases import CROSSED, ELSEWHERE, fresh
from tests.support.moving import HOSTS, LARGE, SMALL, FakeHosts

FINISHED = MigrationStatus.MIGRATION_STATUS_FINISHED


class Crossed:
    """Servers that go from the near cell to the far one (`kind` resize), which the near cell drives; or that have
    come there and are confirmed or reverted, which the far one drives. The other cell is a whole conductor."""

    near = frozenset({"resize"})

    def __init__(self, kind: str, urls: tuple[str, str], directory: Path, edges: CrossingEdges) -> None:
        """`urls` of the databases of the cell that is proven, and of the other."""
        self.kind = kind
        self.edges = edges
        self.name, other = (NEAR, FAR) if kind in self.near else (FAR, NEAR)
        self._url = urls[0]
        self.other: Conductor = edges.conductor(directory / other, other, urls[1], service_down_time=3600)
        self._numbers = itertools.count(1)
        self._subjects: dict[str, tuple[str, str]] = {}
        self._conf = config.load(
            files=[],
            state_path=str(directory),
            placement__target=edges.targets["placement"],
            api__target=edges.targets["api"],
            database__connection=self._url,
            shutdown_timeout=0,
            cell__name=self.name,
            **edges.options,
        )
        self._outside = cells.Outside(
            self._conf, networks=edges.networks, volumes=edges.volumes, images=edges.glance
        )
        with context.use(context.internal("test")):
            wired = cells.wire(self._conf, self._outside)
            migration.upgrade(wired.db, migrations.__name__)
            self._report(wired)
            wired.db.close()

    def close(self) -> None:
        self.other.close()
        self._outside.close()

    @property
    def beyond(self) -> set[str]:
        """When it cleans, the server is in the other cell: nobody deletes it here."""
        return {"clean"}

    def open(self, make: Callable[[str], Database]) -> Database:
        return make(self._url)

    def engine(self, db: Database) -> Engine:
        cell = self._cell(db)
        engine = Engine(
            db,
            operation_tables,
            kinds(cell),
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
        migration_id = f"00000000-0000-4000-9000-{next(self._numbers):012}"
        with context.use(context.internal("test")):
            server = self._server()
            if self.kind == "resize":
                cell.db.write(lambda connection: cell.servers.insert(connection, [server]))
                moves.cold(_request(server.id, migration_id))
            else:
                self._resized(cell, server, migration_id)
                (moves.confirm if self.kind == "confirmResize" else moves.revert)(server.id)
        operation_id = engine.list(subject=server.id, limit=1)[0].id
        self._subjects[operation_id] = (server.id, migration_id)
        return operation_id

    def preempt(self, engine: Engine, operation_id: str) -> str:
        cell: Cell = engine.cell  # type: ignore[attr-defined]
        server_id, _ = self._subjects[operation_id]
        with context.use(context.internal("test")):
            Beginnings(cell, engine).delete(server_id)
        return engine.list(subject=server_id, limit=1)[0].id

    def assert_done(self, operation_id: str) -> None:
        server_id, migration_id = self._subjects[operation_id]
        if self.kind == "resize":
            self._assert_resized(server_id, migration_id)
        elif self.kind == "confirmResize":
            self._assert_at(server_id, FAR, "far1", VmState.VM_STATE_ACTIVE, LARGE)
            self._assert_over(server_id, migration_id)
        else:
            self._assert_at(server_id, NEAR, "host1", VmState.VM_STATE_ACTIVE, SMALL)
            self._assert_over(server_id, migration_id)

    def assert_undone(self, operation_id: str) -> None:
        server_id, migration_id = self._subjects[operation_id]
        if self.kind == "resize":
            self._assert_at(server_id, NEAR, "host1", VmState.VM_STATE_ACTIVE, SMALL)
            self._assert_over(server_id, migration_id)
        elif self.edges.transfers.where[server_id] == self.edges.ids[NEAR]:
            # It failed when the server was back already: what it left there is its agent's to clean.
            left = self.edges.aside(server_id)
            self._assert_at(server_id, NEAR, "host1", VmState.VM_STATE_ACTIVE, SMALL, aside=left)
            assert left in ([], ["far1"])
            assert self._record(FAR, server_id) is None
        else:
            self._assert_resized(server_id, migration_id)

    def assert_swept(self, operation_id: str) -> None:
        server_id, migration_id = self._subjects[operation_id]
        for name in (NEAR, FAR):
            assert self._record(name, server_id) is None, name
        assert self.edges.where(server_id) == []
        assert self.edges.aside(server_id) == []
        assert self.edges.held(server_id) == {}
        assert self.edges.held(migration_id) == {}
        assert server_id in self.edges.region.released

    # ---- inside

    def _assert_resized(self, server_id: str, migration_id: str) -> None:
        self._assert_at(server_id, FAR, "far1", VmState.VM_STATE_RESIZED, LARGE, aside=["host1"])
        kept = self._record(NEAR, server_id)
        assert kept is not None
        assert (kept.away_by, kept.host, kept.flavor.id) == (migration_id, "host1", SMALL.id)
        assert self.edges.held(migration_id) == {"host1": 1}
        assert self._migration(FAR, migration_id).status == FINISHED
        assert not self._migration(FAR, migration_id).away
        assert self._migration(NEAR, migration_id).away

    def _assert_at(
        self, server_id: str, name: str, host: str, vm_state: int, flavor: Any, aside: list[str] | None = None
    ) -> None:
        server = self._record(name, server_id)
        assert server is not None
        assert not server.away_by
        assert (server.host, server.vm_state, server.task_state) == (host, vm_state, 0)
        assert server.flavor.id == flavor.id
        assert self.edges.transfers.where.get(server_id, self.edges.ids[NEAR]) == self.edges.ids[name]
        elsewhere = self._record(FAR if name == NEAR else NEAR, server_id)
        assert elsewhere is None or elsewhere.away_by
        assert self.edges.running(server_id) == self.edges.where(server_id) == [host]
        assert self.edges.aside(server_id) == (aside or [])
        assert self.edges.held(server_id) == {host: flavor.vcpus}

    def _assert_over(self, server_id: str, migration_id: str) -> None:
        """One cell knows of the server."""
        assert [self._record(name, server_id) for name in (NEAR, FAR)].count(None) == 1
        assert self.edges.held(migration_id) == {}

    def _cell(self, db: Database) -> Cell:
        wired = cells.wire(self._conf, self._outside)
        wired.db.close()
        hosts = Hosts(db, cell_id=wired.id, service_down_time=3600)
        return dataclasses.replace(wired, db=db, hosts=hosts, listing=Listing(db, wired.servers, 3600))

    def _report(self, cell: Cell) -> None:
        near = self.name == NEAR
        target = self.edges.targets["agent"] if near else self.edges.far_target
        reports = [
            HostReport(host=name, node=name, node_id=node_id(name), agent_target=target)
            for name in (HOSTS if near else FAR_HOSTS)
        ]
        cell.db.write(lambda connection: cell.hosts.take(connection, reports))

    def _server(self) -> Server:
        """An active one, with its guest and its claims, as its first cell has it."""
        server = new_server(
            flavor=SMALL,
            host="host1",
            node="host1",
            cell_id=self.edges.ids[NEAR],
            vm_state=VmState.VM_STATE_ACTIVE,
            power_state=1,
        )
        server.created_at.seconds = server.launched_at.seconds = 1
        _spawn(self.edges.fakes, "host1", server)
        self.edges.allocations.held[server.id] = self._claim(server.id, "host1", SMALL)
        return server

    def _resized(self, far: Cell, server: Server, migration_id: str) -> None:
        """As a resize leaves a server in both cells."""
        edges, near = self.edges, self.other.cell
        edges.fakes.drivers["host1"].set_aside(server.id, migration_id, 0)
        _spawn(edges.far, "far1", server)
        edges.allocations.held[server.id] = self._claim(server.id, "far1", LARGE)
        edges.allocations.held[migration_id] = self._claim(migration_id, "host1", SMALL)
        edges.transfers.where[server.id] = edges.ids[FAR]
        moved = Migration(
            id=migration_id,
            server_id=server.id,
            type=MigrationType.MIGRATION_TYPE_RESIZE,
            status=FINISHED,
            source_host="host1",
            source_node="host1",
            dest_host="far1",
            dest_node="far1",
            old_flavor=SMALL,
            new_flavor=LARGE,
            was_running=True,
            cross_cell=True,
        )
        here, there, arrived = Migration(), Migration(), Server()
        here.CopyFrom(moved)
        here.other_cell_id, here.away = edges.ids[FAR], True
        there.CopyFrom(moved)
        there.other_cell_id = edges.ids[NEAR]
        arrived.CopyFrom(server)
        arrived.host = arrived.node = "far1"
        arrived.cell_id = edges.ids[FAR]
        arrived.flavor.CopyFrom(LARGE)
        arrived.previous_vm_state, arrived.vm_state = server.vm_state, VmState.VM_STATE_RESIZED
        server.away_by = migration_id
        near.db.write(lambda c: (near.servers.insert(c, [server]), store.insert(c, here)))
        far.db.write(lambda c: (far.servers.insert(c, [arrived]), store.insert(c, there)))

    def _claim(self, consumer: str, host: str, flavor: Any) -> ConsumerAllocations:
        claims = self.edges.place(host, flavor).allocations
        return ConsumerAllocations(consumer_id=consumer, allocations=claims)

    def _record(self, name: str, server_id: str) -> Server | None:
        def read(cell: Cell, connection: Any) -> Server | None:
            try:
                return cell.servers.get(connection, server_id, away=True)
            except errors.NotFound:
                return None

        found: Server | None = self._read(name, read)
        return found

    def _migration(self, name: str, migration_id: str) -> Migration:
        found: Migration = self._read(name, lambda _, connection: store.get(connection, migration_id))
        return found

    def _read(self, name: str, fn: Callable[[Cell, Any], Any]) -> Any:
        if name != self.name:
            other = self.other.cell
            return other.db.read(lambda connection: fn(other, connection))
        db = Database(self._url)
        try:
            cell = self._cell(db)
            return db.read(lambda connection: fn(cell, connection))
        finally:
            db.close()


class _Asked:
    """An engine, as a servicer has it who does not wait for what it began: that may die at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.begun = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def wait(self, operation_id: str, timeout: float) -> Any:
        self.begun = operation_id
        return SimpleNamespace(state="running", finished_at=0)


class Served(Crossed):
    """What one cell does when the other asks: a server is received there, withdrawn, put back at the cell it came
    from, or set aside there once more."""

    near = frozenset({transfer.RETURN, transfer.LEAVE_AGAIN})

    def begin(self, engine: Engine) -> str:
        cell: Cell = engine.cell  # type: ignore[attr-defined]
        asked: Any = _Asked(engine)
        servicer = TransferServicer(cell, asked)
        migration_id = f"00000000-0000-4000-9000-{next(self._numbers):012}"
        server = self._kept(cell, migration_id)
        common = {"key": migration_id, "migration_id": migration_id}
        call: Any = None
        with context.use(context.internal("test")):
            if self.kind == transfer.RECEIVE:
                place = self.edges.place("far1", LARGE)
                request = transfer_pb2.ReceiveServerRequest(**common, server=server, destination=place)
                servicer.ReceiveServer(request, call)
            elif self.kind == transfer.RETURN:
                request = transfer_pb2.ReturnServerRequest(**common, server=server, start=True)
                servicer.ReturnServer(request, call)
            elif self.kind == transfer.LEAVE_AGAIN:
                request = transfer_pb2.LeaveAgainRequest(**common, server_id=server.id)
                servicer.LeaveAgain(request, call)
            else:
                request = transfer_pb2.WithdrawServerRequest(**common, server_id=server.id)
                servicer.WithdrawServer(request, call)
        self._subjects[asked.begun] = (server.id, migration_id)
        begun: str = asked.begun
        return begun

    def preempt(self, engine: Engine, operation_id: str) -> str:
        server_id, migration_id = self._subjects[operation_id]
        asked: Any = _Asked(engine)
        servicer = TransferServicer(engine.cell, asked)  # type: ignore[attr-defined]
        common = {"key": f"{migration_id} again", "server_id": server_id, "migration_id": migration_id}
        call: Any = None
        with context.use(context.internal("test")):
            if self.kind == transfer.RETURN:
                servicer.LeaveAgain(transfer_pb2.LeaveAgainRequest(**common), call)
            else:
                servicer.WithdrawServer(transfer_pb2.WithdrawServerRequest(**common), call)
        begun: str = asked.begun
        return begun

    def assert_done(self, operation_id: str) -> None:
        server_id, migration_id = self._subjects[operation_id]
        edges, server = self.edges, self._record(self.name, server_id)
        if self.kind == transfer.WITHDRAW:
            assert server is None
            assert edges.where(server_id) == edges.aside(server_id) == []
            return
        assert server is not None
        assert server.away_by == migration_id
        if self.kind == transfer.RECEIVE:
            assert (edges.where(server_id), edges.running(server_id)) == (["far1"], [])
            assert server.power_state == PowerState.POWER_STATE_SHUTDOWN
        elif self.kind == transfer.RETURN:
            assert (edges.running(server_id), edges.aside(server_id)) == (["host1"], [])
            assert server.power_state == PowerState.POWER_STATE_RUNNING
        else:
            assert (edges.where(server_id), edges.aside(server_id)) == ([], ["host1"])

    def assert_undone(self, operation_id: str) -> None:
        """For another try, or to be withdrawn. What is set aside stays so."""
        server_id, migration_id = self._subjects[operation_id]
        server = self._record(self.name, server_id)
        assert server is not None
        assert server.away_by == migration_id
        assert self.edges.where(server_id) == []
        aside = ["host1"] if self.name == NEAR else []
        assert self.edges.aside(server_id) == aside

    def assert_swept(self, operation_id: str) -> None:
        if self.kind == transfer.RETURN:
            self.assert_undone(operation_id)
            return
        server_id, _ = self._subjects[operation_id]
        assert self._record(self.name, server_id) is None
        assert self.edges.where(server_id) == self.edges.aside(server_id) == []

    def _kept(self, cell: Cell, migration_id: str) -> Server:
        """A server of whom the cell has a record; where it is set aside or made already, by kind."""
        host, fakes = ("host1", self.edges.fakes) if self.name == NEAR else ("far1", self.edges.far)
        server = new_server(flavor=SMALL, host=host, node=host, vm_state=VmState.VM_STATE_ACTIVE)
        if self.kind != transfer.RECEIVE:
            _spawn(fakes, host, server)
        if self.kind == transfer.RETURN:
            fakes.drivers[host].set_aside(server.id, migration_id, 0)
        server.away_by = "" if self.kind == transfer.LEAVE_AGAIN else migration_id
        moved = Migration(id=migration_id, server_id=server.id, status=FINISHED, dest_host=host)
        cell.db.write(lambda c: (cell.servers.insert(c, [server]), store.insert(c, moved)))
        return server


class Abandoned(Crossed):
    """What is left in the far cell of a move to it that gave way; `kind` is the abandonment, whose subject is the
    migration."""

    near = frozenset({ABANDON})

    def begin(self, engine: Engine) -> str:
        cell: Cell = engine.cell  # type: ignore[attr-defined]
        migration_id = f"00000000-0000-4000-9000-{next(self._numbers):012}"
        edges, far = self.edges, self.other.cell
        server, arrived, here, there = self._server(), Server(), Migration(), Migration()
        _spawn(edges.far, "far1", server)
        # It gave way when everybody had been sent to the far cell already.
        edges.transfers.where[server.id] = edges.ids[FAR]
        here = Migration(id=migration_id, server_id=server.id, other_cell_id=edges.ids[FAR], cross_cell=True)
        there.CopyFrom(here)
        there.other_cell_id = edges.ids[NEAR]
        arrived.CopyFrom(server)
        arrived.host = arrived.node = "far1"
        far.db.write(lambda c: (far.servers.insert(c, [arrived]), store.insert(c, there)))

        def write(connection: Any) -> str:
            cell.servers.insert(connection, [server])
            store.insert(connection, here)
            return engine.create(connection, ABANDON, migration_id, {"server": server.id})

        operation_id = engine.db.write(write)
        self._subjects[operation_id] = (server.id, migration_id)
        engine.run(operation_id)
        return operation_id

    def assert_done(self, operation_id: str) -> None:
        server_id, _ = self._subjects[operation_id]
        self._assert_at(server_id, NEAR, "host1", VmState.VM_STATE_ACTIVE, SMALL)
        assert self._record(FAR, server_id) is None


class Reset(Crossed):
    """A move to the far cell that is ended by a reset of the server's state: that of `Crossed`, preempted so."""

    def begin(self, engine: Engine) -> str:
        self._engine = engine
        return super().begin(engine)

    def preempt(self, engine: Engine, operation_id: str) -> str:
        cell: Cell = engine.cell  # type: ignore[attr-defined]
        server_id, _ = self._subjects[operation_id]
        with context.use(context.internal("test")):
            Beginnings(cell, engine).reset_state(server_id, VmState.VM_STATE_ERROR)
        return engine.list(subject=server_id, limit=1)[0].id

    def assert_swept(self, operation_id: str) -> None:
        """The server is in its cell alone; deleted, nothing is left of it in either."""
        server_id, migration_id = self._subjects[operation_id]
        for one in self._engine.list(subject=migration_id):
            assert self._engine.wait(one.id, kit.PATIENCE).state == "done"
        server = self._record(NEAR, server_id)
        assert server is not None
        assert (server.vm_state, server.task_state) == (VmState.VM_STATE_ERROR, 0)
        assert self.edges.transfers.where.get(server_id, self.edges.ids[NEAR]) == self.edges.ids[NEAR]
        assert self._record(FAR, server_id) is None
        assert not set(self.edges.where(server_id)) & set(FAR_HOSTS)
        deleting = super().preempt(self._engine, operation_id)
        assert self._engine.wait(deleting, kit.PATIENCE).state == "done"
        super().assert_swept(operation_id)


def _spawn(fakes: FakeHosts, host: str, server: Server) -> None:
    fakes.drivers[host].spawn(guest_spec(server))


def _request(server_id: str, migration_id: str) -> pb.MoveServerRequest:
    return pb.MoveServerRequest(
        server_id=server_id,
        migration_id=migration_id,
        type=MigrationType.MIGRATION_TYPE_RESIZE,
        spec=scheduler_pb2.RequestSpec(project_id="project", flavor=LARGE),
        may_leave_cell=True,
    )


ALL = ("resize", "confirmResize", "revertResize")
SERVED = (transfer.RECEIVE, transfer.WITHDRAW, transfer.RETURN, transfer.LEAVE_AGAIN)


@pytest.fixture
def edges(tmp_path: Path) -> Iterator[CrossingEdges]:
    edges = CrossingEdges(tmp_path)
    edges.scheduler.hosts = ["far1"]
    yield edges
    edges.close()


@pytest.fixture(params=CROSSED)
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Of both cells' databases, which are of one kind."""
    a_database = contextlib.contextmanager(fresh)
    for name in ("proven", "other"):
        (tmp_path / name).mkdir()
    with (
        a_database(request.param, tmp_path / "proven") as own,
        a_database(request.param, tmp_path / "other") as others,
    ):
        yield own, others


@pytest.fixture
def case(
    request: pytest.FixtureRequest, tmp_path: Path, urls: tuple[str, str], edges: CrossingEdges
) -> Iterator[Crossed]:
    kind = {ABANDON: Abandoned, "reset": Reset, **dict.fromkeys(SERVED, Served)}.get(request.param, Crossed)
    case = kind("resize" if kind is Reset else request.param, urls, tmp_path, edges)
    yield case
    case.close()


every = pytest.mark.parametrize("case", [*ALL, *SERVED, ABANDON], indirect=True)


@pytest.mark.parametrize("case", ["resize", "revertResize", *SERVED, ABANDON], indirect=True)
def test_every_step_may_be_repeated(case: Crossed) -> None:
    kit.prove_repeatable(case)


# What takes away, and a confirmation, go forward only.
@pytest.mark.parametrize("case", ["resize", "revertResize", transfer.RECEIVE, transfer.RETURN], indirect=True)
def test_whichever_step_fails_it_is_undone(case: Crossed) -> None:
    kit.prove_undone(case)


@every
def test_another_replica_goes_on_after_a_killed_one(case: Crossed) -> None:
    # A resize begins as one within the cell.
    assert kit.prove_killed(case, commits=2 if case.kind == "resize" else 0) >= 2


@pytest.mark.parametrize("case", ["resize"], indirect=True)
def test_another_replica_undoes_what_a_killed_one_was_undoing(case: Crossed) -> None:
    # Until something fails, it commits as above.
    assert kit.prove_killed(case, failing=True, commits=11) >= 12


@pytest.mark.parametrize("case", [*ALL, transfer.RECEIVE, transfer.RETURN], indirect=True)
def test_what_preempts_may_arrive_at_any_step(case: Crossed) -> None:
    kit.prove_preempted(case)


@pytest.mark.parametrize("case", ["reset"], indirect=True)
def test_a_reset_of_the_state_may_arrive_at_any_step(case: Crossed) -> None:
    kit.prove_preempted(case)


@pytest.mark.parametrize("urls", ELSEWHERE, indirect=True)
@pytest.mark.parametrize("case", [transfer.RETURN], indirect=True)
def test_another_replica_goes_on_on_other_databases_too(case: Crossed) -> None:
    assert kit.prove_killed(case) >= 2
