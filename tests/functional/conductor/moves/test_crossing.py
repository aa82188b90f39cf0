"""Moves between two cells: what each cell has of the server at each end, and what its users see of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import Connection

from protonova.common.v1.flavor_pb2 import Flavor
from protonova.common.v1.migration_pb2 import MigrationStatus
from protonova.common.v1.server_pb2 import PowerState, Server, VmState
from protonova.common.v1.server_query_pb2 import ServerFilter
from protonova.conductor.v1 import migration_pb2, server_pb2
from protonova.services.conductor.moves import store
from protonova.services.runtime import errors
from tests.functional.conductor.moves.test_resize import back, failed, full, resized
from tests.functional.conductor.test_power import stop
from tests.support.conductor import SECONDS, Conductor, as_user
from tests.support.crossing import FAR, FAR_HOSTS, NEAR, CrossingEdges
from tests.support.databases import CROSSED, EVERY, fresh
from tests.support.gates import Gate
from tests.support.moving import LARGE, SMALL, Mover

ACTIVE, STOPPED = VmState.VM_STATE_ACTIVE, VmState.VM_STATE_STOPPED


@pytest.fixture
def edges(tmp_path: Path) -> Iterator[CrossingEdges]:
    edges = CrossingEdges(tmp_path)
    edges.scheduler.hosts = list(FAR_HOSTS)
    yield edges
    edges.close()


@pytest.fixture(params=CROSSED)
def database(request: pytest.FixtureRequest) -> str:
    """The kind of both cells' databases."""
    return str(request.param)


@pytest.fixture
def options() -> dict[str, object]:
    """Of both cells; overridden where a test needs others."""
    return {}


@pytest.fixture
def near(
    tmp_path: Path, edges: CrossingEdges, database: str, options: dict[str, object]
) -> Iterator[Conductor]:
    yield from a_cell(tmp_path / "near_cell", edges, NEAR, database, options)


@pytest.fixture
def far(
    tmp_path: Path, edges: CrossingEdges, database: str, options: dict[str, object]
) -> Iterator[Conductor]:
    yield from a_cell(tmp_path / "far_cell", edges, FAR, database, options)


def a_cell(
    directory: Path, edges: CrossingEdges, name: str, database: str, options: dict[str, object]
) -> Iterator[Conductor]:
    directory.mkdir()
    with contextlib.contextmanager(fresh)(database, directory) as url:
        conductor = edges.conductor(directory, name, url, **options)
        yield conductor
        conductor.close()


@pytest.fixture
def mover(near: Conductor) -> Iterator[Mover]:
    mover = Mover(near, may_leave_cell=True)
    yield mover
    mover.close()


@pytest.fixture
def there(far: Conductor) -> Iterator[Mover]:
    mover = Mover(far, may_leave_cell=True, first=100)
    yield mover
    mover.close()


def listed(conductor: Conductor, **wanted: object) -> list[str]:
    request = server_pb2.ListServersRequest(page_size=10, filter=ServerFilter(**wanted))
    return [server.id for server in conductor.servers.ListServers(request).servers]


def knows(conductor: Conductor, server_id: str) -> bool:
    try:
        conductor.get(server_id, deleted=True)
    except errors.NotFound:
        return False
    return True


def all_over(conductor: Conductor) -> None:
    for operation in conductor.engine.list():
        found = conductor.engine.wait(operation.id, SECONDS)
        assert found.finished_at, f"{found.kind} {found.state} at {found.step}: {found.error!r}"


def actions(conductor: Conductor, server_id: str) -> list[str]:
    request = server_pb2.ListServerActionsRequest(server_id=server_id)
    return [each.action for each in conductor.servers.ListServerActions(request).actions]


def migrations(mover: Mover) -> list[int]:
    return [
        each.status for each in mover.stub.ListMigrations(migration_pb2.ListMigrationsRequest()).migrations
    ]


def devices_are_on(edges: CrossingEdges, server: Server, host: str, ip: str) -> None:
    (port,) = [port for port in edges.networks.ports.values() if port.device_id == server.id]
    assert port.host == host
    ((_, attachment),) = edges.volumes.attachment_ids(server.id)
    assert attachment == server.block_devices[0].attachment_id
    assert edges.volumes.connected[attachment]["host"] == host
    assert edges.volumes.connected[attachment]["ip"] == ip
    assert attachment in edges.volumes.completed


@pytest.mark.parametrize("database", EVERY, indirect=True)
def test_resized_and_confirmed(
    near: Conductor, far: Conductor, mover: Mover, there: Mover, edges: CrossingEdges
):
    server = near.boot(full(edges, "host1"))
    with as_user(request_id="req-resize", user_id="somebody"):
        migration = mover.resize(server.id)
    moved = there.wait(server.id, resized)
    all_over(near)
    assert (moved.host, moved.cell_id) == ("far1", edges.ids[FAR])
    assert moved.flavor == LARGE
    assert moved.power_state == PowerState.POWER_STATE_RUNNING
    assert moved.previous_vm_state == ACTIVE
    assert moved.created_at == server.created_at
    assert moved.image == server.image
    assert edges.running(server.id) == ["far1"]
    assert edges.aside(server.id) == ["host1"]
    assert edges.transfers.where[server.id] == edges.ids[FAR]
    devices_are_on(edges, moved, "far1", "192.0.2.2")
    assert edges.held(server.id) == {"far1": 2}
    assert edges.held(migration) == {"host1": 1}
    # One cell shows it, whatever is asked.
    assert not knows(near, server.id)
    assert listed(near) == []
    assert listed(far) == [server.id]
    assert migrations(mover) == []
    assert migrations(there) == [MigrationStatus.MIGRATION_STATUS_FINISHED]
    assert there.migration(migration).cross_cell
    assert (there.migration(migration).source_host, there.migration(migration).dest_host) == ("host1", "far1")
    there.confirm(server.id)
    confirmed = there.wait(server.id, back)
    all_over(far)
    assert confirmed.vm_state == ACTIVE
    assert edges.aside(server.id) == []
    assert edges.where(server.id) == ["far1"]
    assert edges.held(migration) == {}
    assert edges.usage.settled[server.id, migration] == (2, 1024)
    assert there.migration(migration).status == MigrationStatus.MIGRATION_STATUS_CONFIRMED
    assert not mover.stub.ListMigrations(migration_pb2.ListMigrationsRequest(id=migration)).migrations
    # What it was carried over as is gone.
    all_over(near)
    assert edges.glance.records == {}


@pytest.mark.parametrize("database", EVERY, indirect=True)
def test_resized_and_reverted(
    near: Conductor, far: Conductor, mover: Mover, there: Mover, edges: CrossingEdges
):
    server = near.boot(full(edges, "host1"))
    near.servers.UpdateServerTags(server_pb2.UpdateServerTagsRequest(id=server.id, add=["blue"]))
    with as_user(request_id="req-resize"):
        migration = mover.resize(server.id)
    there.wait(server.id, resized)
    all_over(near)
    # What is changed meanwhile goes back with it.
    assert listed(far, tags_all=["blue"]) == [server.id]
    renamed = server_pb2.UpdateServerRequest(server={"id": server.id, "name": "other"})
    renamed.update_mask.paths.append("name")
    far.servers.UpdateServer(renamed)
    with as_user(request_id="req-revert"):
        there.revert(server.id)
    returned = mover.wait(server.id, back)
    all_over(far)
    assert (returned.vm_state, returned.host, returned.cell_id) == (ACTIVE, "host1", edges.ids[NEAR])
    assert returned.flavor == server.flavor
    assert returned.power_state == PowerState.POWER_STATE_RUNNING
    assert (returned.name, list(returned.tags)) == ("other", ["blue"])
    assert returned.instance_name == server.instance_name
    assert edges.running(server.id) == edges.where(server.id) == ["host1"]
    assert edges.aside(server.id) == []
    assert edges.transfers.where[server.id] == edges.ids[NEAR]
    devices_are_on(edges, returned, "host1", "192.0.2.1")
    assert edges.held(server.id) == {"host1": 1}
    assert edges.held(migration) == {}
    assert edges.usage.settled[server.id, migration] == (1, 512)
    assert listed(near) == listed(near, tags_all=["blue"]) == [server.id]
    assert not knows(far, server.id)
    assert migrations(mover) == [MigrationStatus.MIGRATION_STATUS_REVERTED]
    assert not there.stub.ListMigrations(migration_pb2.ListMigrationsRequest(id=migration)).migrations
    assert actions(near, server.id)[:2] == ["revertResize", "resize"]


def test_what_was_done_to_a_server_goes_with_it(near: Conductor, far: Conductor, mover: Mover, there: Mover):
    server = near.boot()
    before = actions(near, server.id)
    for number in range(2):
        with as_user(request_id=f"req-{number}", user_id="somebody"):
            mover.resize(server.id)
        there.wait(server.id, resized)
        all_over(near)
        assert actions(far, server.id)[0] == "resize"
        assert actions(far, server.id)[-len(before) :] == before
        asked = server_pb2.GetServerActionRequest(server_id=server.id, request_id=f"req-{number}")
        told = far.servers.GetServerAction(asked).action
        assert told.user_id == "somebody"
        assert "compute_prep_resize" in [event.name for event in told.events]
        there.revert(server.id)
        mover.wait(server.id, back)
        all_over(far)
    assert actions(near, server.id) == ["revertResize", "resize"] * 2 + before


def test_a_stopped_server_stays_off_and_a_host_may_be_named(
    near: Conductor, far: Conductor, mover: Mover, there: Mover, edges: CrossingEdges
):
    server = near.boot()
    stop(near, server.id)
    mover.wait(server.id, lambda found: found.vm_state == STOPPED)
    mover.migrate(server.id, host="far2")
    moved = there.wait(server.id, resized)
    all_over(near)
    assert (moved.host, moved.power_state) == ("far2", PowerState.POWER_STATE_SHUTDOWN)
    assert edges.where(server.id) == ["far2"]
    assert edges.running(server.id) == []
    there.confirm(server.id)
    assert there.wait(server.id, back).vm_state == STOPPED
    # And back to the cell it came from, which knows nothing of it any more.
    all_over(far)
    edges.scheduler.hosts = ["host3"]
    there.migrate(server.id)
    assert mover.wait(server.id, resized).host == "host3"
    all_over(far)
    mover.confirm(server.id)
    assert mover.wait(server.id, back).vm_state == STOPPED
    all_over(near)
    assert edges.where(server.id) == ["host3"]
    assert edges.aside(server.id) == []
    assert not knows(far, server.id)


@pytest.mark.parametrize("call", ["check_receive", "spawn"])
def test_a_destination_that_refuses_leaves_the_server_as_it_was(
    call: str, near: Conductor, far: Conductor, mover: Mover, edges: CrossingEdges
):
    server = near.boot(full(edges, "host1"))
    edges.scheduler.hosts = ["far1"]
    edges.far.fail(call)
    migration = mover.resize(server.id)
    stayed = mover.wait(server.id, failed)
    all_over(near)
    assert (stayed.vm_state, stayed.host, stayed.flavor.id) == (ACTIVE, "host1", SMALL.id)
    assert edges.running(server.id) == edges.where(server.id) == ["host1"]
    assert edges.aside(server.id) == []
    devices_are_on(edges, stayed, "host1", "192.0.2.1")
    assert edges.held(server.id) == {"host1": 1}
    assert edges.held(migration) == {}
    assert edges.usage.settled[server.id, migration] == (1, 512)
    assert not knows(far, server.id)
    assert listed(near) == [server.id]
    assert migrations(mover) == [MigrationStatus.MIGRATION_STATUS_ERROR]
    assert edges.glance.records == {}


def test_the_next_host_may_be_in_the_cell_itself(
    near: Conductor, far: Conductor, mover: Mover, edges: CrossingEdges
):
    server = near.boot()
    edges.scheduler.hosts = ["far1", "host2"]
    edges.far.fail("spawn", "HostRefuses")
    migration = mover.resize(server.id)
    moved = mover.wait(server.id, resized)
    all_over(near)
    assert moved.host == "host2"
    assert edges.running(server.id) == ["host2"]
    assert edges.aside(server.id) == ["host1"]
    assert not mover.migration(migration).cross_cell
    assert not knows(far, server.id)
    assert edges.glance.records == {}


def test_only_who_may_leave_the_cell_does(near: Conductor, mover: Mover, edges: CrossingEdges):
    edges.scheduler.hosts = ["host2"]
    stays = Mover(near, first=200)
    first, second, third = near.boot(), near.boot(), near.boot()
    stays.migrate(first.id)
    stays.close()
    near.wait(first.id, resized)
    mover.migrate(second.id)
    near.wait(second.id, resized)
    # Ephemeral disks would not go along.
    scratch = Flavor(id="3", name="scratch", vcpus=1, memory_mb=512, root_gb=1, ephemeral_gb=5)
    mover.resize(third.id, scratch)
    near.wait(third.id, resized)
    asked = [(each.spec.cell_id, each.spec.source_cell_id) for each in edges.scheduler.requests]
    assert asked == [(edges.ids[NEAR], ""), ("", edges.ids[NEAR]), (edges.ids[NEAR], "")]


def test_deleted_while_it_waits(
    near: Conductor, far: Conductor, mover: Mover, there: Mover, edges: CrossingEdges
):
    server = near.boot(full(edges, "host1"))
    migration = mover.resize(server.id)
    there.wait(server.id, resized)
    far.servers.DeleteServer(server_pb2.DeleteServerRequest(id=server.id))
    far.wait_gone(server.id)
    all_over(near)
    assert edges.where(server.id) == edges.aside(server.id) == []
    assert edges.held(server.id) == edges.held(migration) == {}
    assert edges.volumes.attachment_ids(server.id) == []
    assert not knows(near, server.id)
    assert edges.region.released == [server.id]
    assert there.migration(migration).status == MigrationStatus.MIGRATION_STATUS_CONFIRMED


def nothing_is_left(edges: CrossingEdges, server_id: str, migration: str) -> None:
    assert edges.where(server_id) == edges.aside(server_id) == []
    assert edges.held(server_id) == edges.held(migration) == {}
    assert edges.volumes.attachment_ids(server_id) == []
    assert not [port for port in edges.networks.ports.values() if port.device_id == server_id]
    assert edges.glance.records == {}


def keeps_no_record(conductor: Conductor, server_id: str, migration: str) -> None:
    """Not one either that is shown to nobody."""
    cell = conductor.cell

    def read(connection: Connection) -> None:
        with pytest.raises(errors.NotFound):
            cell.servers.get(connection, server_id, away=True)
        assert not store.exists(connection, migration)

    cell.db.read(read)


@pytest.fixture
def going_back(
    near: Conductor, far: Conductor, mover: Mover, there: Mover, edges: CrossingEdges
) -> tuple[str, str, Gate]:
    """A server that is back in the cell it came from, for everybody, when going back fails: server, migration, and
    what holds that failure up."""
    server = near.boot(full(edges, "host1"))
    migration = mover.resize(server.id)
    there.wait(server.id, resized)
    all_over(near)
    gate = edges.transfers.gates.after["SwitchServerCell"] = Gate()
    refused = errors.FailedPrecondition("Not now.", reason="NOT_NOW")
    edges.transfers.gates.fail("SwitchServerCell", refused, after=True)
    there.revert(server.id)
    gate.wait_reached()
    return server.id, migration, gate


def test_a_server_that_could_not_go_back_is_where_it_was(
    near: Conductor,
    far: Conductor,
    there: Mover,
    edges: CrossingEdges,
    going_back: tuple[str, str, Gate],
):
    server_id, migration, gate = going_back
    gate.open()
    stayed = there.wait(server_id, failed)
    all_over(near)
    assert (stayed.vm_state, stayed.host) == (VmState.VM_STATE_RESIZED, "far1")
    assert not knows(near, server_id)
    assert edges.running(server_id) == ["far1"]
    assert edges.aside(server_id) == ["host1"]
    devices_are_on(edges, stayed, "far1", "192.0.2.2")
    assert edges.held(migration) == {"host1": 1}


def test_deleted_before_a_failed_way_back_is_undone(
    near: Conductor, far: Conductor, edges: CrossingEdges, going_back: tuple[str, str, Gate]
):
    server_id, migration, gate = going_back
    near.servers.DeleteServer(server_pb2.DeleteServerRequest(id=server_id))
    near.wait_gone(server_id)
    gate.open()
    all_over(far)
    keeps_no_record(far, server_id, migration)
    nothing_is_left(edges, server_id, migration)
    assert listed(far) == listed(near) == []


def test_deleted_while_a_failed_way_back_is_undone(
    near: Conductor, far: Conductor, edges: CrossingEdges, going_back: tuple[str, str, Gate]
):
    server_id, migration, gate = going_back
    release = edges.region.gates.before["ReleaseServers"] = Gate()
    near.servers.DeleteServer(server_pb2.DeleteServerRequest(id=server_id))
    release.wait_reached()
    gate.open()
    all_over(far)
    keeps_no_record(far, server_id, migration)
    assert edges.transfers.where[server_id] == edges.ids[NEAR]
    release.open()
    near.wait_gone(server_id)
    nothing_is_left(edges, server_id, migration)
    assert edges.region.released == [server_id]


@pytest.mark.parametrize("options", [{"reclaim_instance_interval": 3600}])
def test_deleted_softly_before_a_failed_way_back_is_undone(
    near: Conductor, far: Conductor, mover: Mover, edges: CrossingEdges, going_back: tuple[str, str, Gate]
):
    server_id, migration, gate = going_back
    near.servers.DeleteServer(server_pb2.DeleteServerRequest(id=server_id))
    all_over(near)
    gate.open()
    all_over(far)
    keeps_no_record(far, server_id, migration)
    kept = near.get(server_id)
    assert (kept.vm_state, kept.host) == (VmState.VM_STATE_SOFT_DELETED, "host1")
    assert edges.transfers.where[server_id] == edges.ids[NEAR]
    assert edges.where(server_id) == ["host1"]
    assert edges.aside(server_id) == []
    assert edges.held(server_id) == {"host1": 1}
    assert edges.held(migration) == {}


@pytest.fixture
def arriving(near: Conductor, far: Conductor, mover: Mover, edges: CrossingEdges) -> tuple[str, str, Gate]:
    """A server that has come to the other cell, for everybody, when its move fails: server, migration, and what
    holds that failure up."""
    server = near.boot(full(edges, "host1"))
    gate = edges.transfers.gates.after["SwitchServerCell"] = Gate()
    refused = errors.FailedPrecondition("Not now.", reason="NOT_NOW")
    edges.transfers.gates.fail("SwitchServerCell", refused, after=True)
    migration = mover.resize(server.id)
    gate.wait_reached()
    return server.id, migration, gate


def test_deleted_there_before_a_failed_move_is_undone(
    near: Conductor, far: Conductor, edges: CrossingEdges, arriving: tuple[str, str, Gate]
):
    server_id, migration, gate = arriving
    far.servers.DeleteServer(server_pb2.DeleteServerRequest(id=server_id))
    gate.open()
    far.wait_gone(server_id)
    for conductor in (near, near, far):
        all_over(conductor)
    keeps_no_record(near, server_id, migration)
    nothing_is_left(edges, server_id, migration)
    assert listed(far) == listed(near) == []
    assert edges.region.released == [server_id]


def test_deleted_there_while_a_failed_move_is_undone(
    near: Conductor, far: Conductor, edges: CrossingEdges, arriving: tuple[str, str, Gate]
):
    """What deletes is held up, until the cell it came from has tried to take it back."""
    server_id, migration, gate = arriving
    withdrawn = edges.transfers.gates.after["WithdrawServer"] = Gate()
    far.servers.DeleteServer(server_pb2.DeleteServerRequest(id=server_id))
    withdrawn.wait_reached()
    gate.open()
    withdrawn.open()
    far.wait_gone(server_id)
    for conductor in (near, near, far):
        all_over(conductor)
    keeps_no_record(near, server_id, migration)
    nothing_is_left(edges, server_id, migration)


def test_deleted_in_both_cells_at_once(
    near: Conductor, far: Conductor, edges: CrossingEdges, arriving: tuple[str, str, Gate]
):
    server_id, migration, gate = arriving
    for conductor in (near, far):
        conductor.servers.DeleteServer(server_pb2.DeleteServerRequest(id=server_id))
    gate.open()
    for conductor in (near, far, near, far):
        all_over(conductor)
    nothing_is_left(edges, server_id, migration)
    assert listed(far) == listed(near) == []
    assert set(edges.region.released) == {server_id}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_reset_while_it_is_switched(
    moment: str, near: Conductor, far: Conductor, mover: Mover, edges: CrossingEdges
):
    server = near.boot(full(edges, "host1"))
    gate = getattr(edges.transfers.gates, moment)["SwitchServerCell"] = Gate()
    migration = mover.resize(server.id)
    gate.wait_reached()
    reset = server_pb2.ResetServerStateRequest(id=server.id, vm_state=VmState.VM_STATE_ERROR)
    near.servers.ResetServerState(reset)
    gate.open()
    # What gives way begins what takes it back from the other cell.
    for conductor in (near, near, far):
        all_over(conductor)
    kept = near.get(server.id)
    assert (kept.vm_state, kept.task_state, kept.host) == (VmState.VM_STATE_ERROR, 0, "host1")
    assert listed(near) == [server.id]
    assert edges.transfers.where[server.id] == edges.ids[NEAR]
    keeps_no_record(far, server.id, migration)
    assert edges.where(server.id) == []
    assert edges.aside(server.id) == ["host1"]
    assert edges.glance.records == {}
    near.servers.DeleteServer(server_pb2.DeleteServerRequest(id=server.id))
    near.wait_gone(server.id)
    nothing_is_left(edges, server.id, migration)


def test_agents_keep_what_is_on_its_way(
    near: Conductor, far: Conductor, mover: Mover, there: Mover, edges: CrossingEdges
):
    server = near.boot()
    migration = mover.resize(server.id)
    there.wait(server.id, resized)
    all_over(near)
    kept = [migration_pb2.SetAside(server_id=server.id, label=migration)]
    left = mover.stub.ListLeftovers(migration_pb2.ListLeftoversRequest(host="host1", set_aside=kept))
    assert not left.discard
    assert not left.put_back
