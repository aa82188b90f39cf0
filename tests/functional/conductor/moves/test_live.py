"""Live migration: the guest goes on running, here or there; aborted, forced, queued and failed."""

from __future__ import annotations

import pytest

from protonova.common.v1.migration_pb2 import BlockMigration, MigrationStatus
from protonova.common.v1.server_pb2 import PowerState, Server, TaskState, VmState
from protonova.conductor.v1 import migration_pb2 as pb
from protonova.conductor.v1 import server_pb2
from protonova.services.runtime import errors
from tests.functional.conductor.moves.test_resize import devices_are_on, failed, full
from tests.support.conductor import Conductor, as_user
from tests.support.moving import Mover, MovingEdges

ACTIVE = VmState.VM_STATE_ACTIVE
SLOW = {"call": "live_migrate", "stage": "copy", "delay": 5.0}


def on(host: str):
    return lambda server: server.host == host and not server.task_state


def abort(mover: Mover, migration: str, *, early: bool = False) -> None:
    record = mover.migration(migration)
    mover.stub.AbortMigration(
        pb.AbortMigrationRequest(server_id=record.server_id, number=record.number, before_it_runs=early)
    )


def force(mover: Mover, migration: str) -> None:
    record = mover.migration(migration)
    mover.stub.ForceCompleteMigration(
        pb.ForceCompleteMigrationRequest(server_id=record.server_id, number=record.number)
    )


def stays(edges: MovingEdges, server: Server, migration: str) -> None:
    """It runs where it was, with all it had."""
    assert (server.vm_state, server.host) == (ACTIVE, "host1")
    assert edges.fakes.running(server.id) == edges.fakes.where(server.id) == ["host1"]
    assert edges.held(server.id) == {"host1": 1}
    assert edges.held(migration) == {}
    devices_are_on(edges, server, "host1")
    assert edges.fakes.drivers["host2"]._records == {}


def test_migrated(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot(full(edges, "host1"))
    edges.fakes.faults.set({"call": "live_migrate", "stage": "copy", "delay": 0.05})
    with as_user(request_id="req-live"):
        migration = mover.live(server.id)
    mover.wait(server.id, lambda s: s.task_state == TaskState.TASK_STATE_MIGRATING)
    moved = mover.wait(server.id, on("host2"))
    assert moved.vm_state == ACTIVE
    assert moved.power_state == PowerState.POWER_STATE_RUNNING
    assert moved.availability_zone == "zone of host2"
    assert moved.launched_at == server.launched_at
    assert edges.fakes.running(server.id) == edges.fakes.where(server.id) == ["host2"]
    # It was not booted again.
    assert edges.fakes.boots(server.id) == 1
    devices_are_on(edges, moved, "host2")
    assert edges.held(server.id) == {"host2": 1}
    assert edges.held(migration) == {}
    record = mover.until(migration, "completed")
    assert record.progress.memory_total_bytes == 512 << 20
    action = cell.servers.GetServerAction(
        server_pb2.GetServerActionRequest(server_id=server.id, request_id="req-live")
    ).action
    assert action.action == "live-migration"
    assert "compute_live_migration" in [event.name for event in action.events]


def test_a_paused_server_stays_paused(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot()
    driver = edges.fakes.drivers["host1"]
    driver._records[server.id].power_state = driver.guest(server.id).power_state.__class__.PAUSED

    def pause(changed: Server) -> None:
        changed.vm_state, changed.power_state = VmState.VM_STATE_PAUSED, PowerState.POWER_STATE_PAUSED

    cell.cell.db.write(lambda c: cell.cell.servers.change(c, server.id, pause))
    mover.live(server.id)
    moved = mover.wait(server.id, on("host2"))
    assert (moved.vm_state, moved.power_state) == (VmState.VM_STATE_PAUSED, PowerState.POWER_STATE_PAUSED)


def test_progress_is_told_and_an_abort_ends_it(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot(full(edges, "host1"))
    edges.fakes.faults.set(SLOW)
    migration = mover.live(server.id)
    mover.until(migration, "running")
    (shown,) = mover.stub.ListMigrations(
        pb.ListMigrationsRequest(filter={"server_id": server.id, "live_in_progress": True})
    ).migrations
    assert shown.id == migration
    with as_user(request_id="req-abort", is_admin=True):
        abort(mover, migration)
    after = mover.wait(server.id, failed)
    stays(edges, after, migration)
    assert mover.migration(migration).status == MigrationStatus.MIGRATION_STATUS_CANCELLED
    action = cell.servers.GetServerAction(
        server_pb2.GetServerActionRequest(server_id=server.id, request_id="req-abort")
    ).action
    assert action.action == "live_migration_cancel"


def test_forced_to_its_end(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot(full(edges, "host1"))
    edges.fakes.faults.set(SLOW)
    migration = mover.live(server.id)
    mover.until(migration, "running")
    force(mover, migration)
    devices_are_on(edges, mover.wait(server.id, on("host2")), "host2")
    mover.until(migration, "completed")


def test_one_at_a_time_from_a_host(cell: Conductor, mover: Mover, edges: MovingEdges):
    """The others wait in the order they came; one that waits can be aborted, from the version on that may."""
    servers = [cell.boot() for _ in range(3)]
    edges.fakes.faults.set(SLOW)
    first, second, third = (mover.live(server.id) for server in servers)
    mover.until(first, "running")
    mover.until(second, "queued")
    mover.until(third, "queued")
    with pytest.raises(errors.FailedPrecondition) as refused:
        abort(mover, second)
    assert (refused.value.reason, refused.value.facts["status"]) == ("MIGRATION_STATE", "queued")
    with pytest.raises(errors.FailedPrecondition) as refused:
        force(mover, second)
    assert refused.value.reason == "MIGRATION_STATE"
    abort(mover, second, early=True)
    mover.until(second, "cancelled")
    edges.fakes.faults.set()
    force(mover, first)
    for server in (servers[0], servers[2]):
        mover.wait(server.id, on("host2"))
    assert cell.get(servers[1].id).host == "host1"
    mover.until(third, "completed")


@pytest.mark.parametrize(
    ("call", "stage", "status"),
    [
        ("live_prepare", "begin", MigrationStatus.MIGRATION_STATUS_ERROR),
        ("live_migrate", "copy", MigrationStatus.MIGRATION_STATUS_FAILED),
    ],
)
def test_a_failure_leaves_it_running_where_it_was(
    cell: Conductor, mover: Mover, edges: MovingEdges, call: str, stage: str, status: int
):
    server = cell.boot(full(edges, "host1"))
    edges.fakes.fail(call, "MigrationFailed", stage=stage)
    migration = mover.live(server.id)
    stays(edges, mover.wait(server.id, failed), migration)
    assert mover.migration(migration).status == status


def test_an_alternate_is_tried(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot(full(edges, "host1"))
    edges.fakes.fail("live_prepare", "MigrationImpossible", host="host2")
    migration = mover.live(server.id)
    devices_are_on(edges, mover.wait(server.id, on("host3")), "host3")
    mover.until(migration, "completed")


def test_an_outcome_that_was_not_heard(cell: Conductor, mover: Mover, edges: MovingEdges):
    """The guest had gone when its host failed to say so."""
    server = cell.boot(full(edges, "host1"))
    edges.fakes.fail("live_migrate", "HypervisorUnavailable", stage="end", times=1)
    mover.live(server.id)
    moved = mover.wait(server.id, on("host2"))
    assert edges.fakes.running(server.id) == edges.fakes.where(server.id) == ["host2"]
    devices_are_on(edges, moved, "host2")


def test_disks_that_are_not_shared(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot()
    with pytest.raises(errors.FailedPrecondition) as refused:
        mover.live(
            server.id, host="host2", block_migration=BlockMigration.BLOCK_MIGRATION_SHARED, check_first=True
        )
    assert refused.value.reason == "MIGRATION_CHECK_FAILED"
    assert "shares no storage" in refused.value.message
    assert cell.get(server.id) == server
    assert edges.fakes.drivers["host2"]._records == {}
    # Asked afterwards, the server stays where it is.
    mover.live(server.id, block_migration=BlockMigration.BLOCK_MIGRATION_SHARED)
    assert mover.wait(server.id, failed).host == "host1"


@pytest.mark.parametrize("storage", ["SHARED", "COPY", "UNSPECIFIED"])
def test_a_guest_that_has_all_on_volumes(cell: Conductor, mover: Mover, edges: MovingEdges, storage: str):
    """There is no disk of the host's that would have to be shared or copied."""
    build = full(edges, "host1")
    build.server.ClearField("image")
    build.server.flavor.root_gb = 0
    server = cell.boot(build)
    wanted = BlockMigration.Value(f"BLOCK_MIGRATION_{storage}")
    mover.live(server.id, host="host2", block_migration=wanted, check_first=True)
    devices_are_on(edges, mover.wait(server.id, on("host2")), "host2")


@pytest.mark.parametrize("moment", ["queued", "copy"])
def test_a_delete_finds_both_hosts(cell: Conductor, mover: Mover, edges: MovingEdges, moment: str):
    other = cell.boot() if moment == "queued" else None
    server = cell.boot(full(edges, "host1"))
    edges.fakes.faults.set(SLOW)
    if other is not None:
        mover.until(mover.live(other.id), "running")
    migration = mover.live(server.id)
    mover.until(migration, "queued" if other is not None else "running")
    cell.servers.DeleteServer(server_pb2.DeleteServerRequest(id=server.id))
    cell.wait_gone(server.id)
    edges.fakes.faults.set()
    assert all(server.id not in driver._records for driver in edges.fakes.drivers.values())
    assert edges.held(server.id) == edges.held(migration) == {}
    assert edges.networks.ports == {}
    assert edges.volumes.attachment_ids(server.id) == []


def test_only_what_runs_is_aborted(cell: Conductor, mover: Mover):
    server = cell.boot()
    migration = mover.live(server.id)
    mover.wait(server.id, on("host2"))
    for ask in (abort, force):
        with pytest.raises(errors.FailedPrecondition) as refused:
            ask(mover, migration)
        assert refused.value.reason == "SERVER_STATE"
    with pytest.raises(errors.NotFound) as missing:
        mover.stub.GetMigration(pb.GetMigrationRequest(server_id=server.id, number=999))
    assert missing.value.reason == "MIGRATION_NOT_FOUND"
