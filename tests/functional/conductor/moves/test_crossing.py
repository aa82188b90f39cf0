"""Moves between two cells: what each cell has of the server at each end, and what its users see of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from protonova.common.v1.flavor_pb2 import Flavor
from protonova.common.v1.migration_pb2 import MigrationStatus
from protonova.common.v1.server_pb2 import PowerState, Server, VmState
from protonova.common.v1.server_query_pb2 import ServerFilter
from protonova.conductor.v1 import migration_pb2, server_pb2
from protonova.services.runtime import errors
from tests.functional.conductor.moves.test_resize import back, failed, full, resized
from tests.functional.conductor.test_power import stop
from tests.support.conductor import SECONDS, Conductor, as_user
from tests.support.crossing import FAR, FAR_HOSTS, NEAR, CrossingEdges
from tests.support.moving import LARGE, SMALL, Mover

ACTIVE, STOPPED = VmState.VM_STATE_ACTIVE, VmState.VM_STATE_STOPPED


@pytest.fixture
def edges(tmp_path: Path) -> Iterator[CrossingEdges]:
    edges = CrossingEdges(tmp_path)
    edges.scheduler.hosts = list(FAR_HOSTS)
    yield edges
    edges.close()


@pytest.fixture
def near(tmp_path: Path, edges: CrossingEdges) -> Iterator[Conductor]:
    conductor = edges.conductor(tmp_path / "near_cell", NEAR)
    yield conductor
    conductor.close()


@pytest.fixture
def far(tmp_path: Path, edges: CrossingEdges) -> Iterator[Conductor]:
    conductor = edges.conductor(tmp_path / "far_cell", FAR)
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
