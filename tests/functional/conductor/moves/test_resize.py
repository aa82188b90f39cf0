"""Resize and cold migration, their confirmation and the way back: what is where at each end."""

from __future__ import annotations

import pytest

from protonova.common.v1.migration_pb2 import MigrationStatus, MigrationType
from protonova.common.v1.server_pb2 import NetworkRequest, PowerState, Server, TaskState, VmState
from protonova.conductor.v1 import host_pb2, server_pb2
from protonova.services.runtime import errors
from tests.functional.conductor.test_create import volume_device
from tests.functional.conductor.test_power import events, stop
from tests.support.conductor import SECONDS, Conductor, as_user, new_build, new_server
from tests.support.moving import LARGE, Mover, MovingEdges

ACTIVE, STOPPED = VmState.VM_STATE_ACTIVE, VmState.VM_STATE_STOPPED
RESIZED, ERROR = VmState.VM_STATE_RESIZED, VmState.VM_STATE_ERROR
FINISHED = MigrationStatus.MIGRATION_STATUS_FINISHED
CONFIRMED = MigrationStatus.MIGRATION_STATUS_CONFIRMED
REVERTED = MigrationStatus.MIGRATION_STATUS_REVERTED
FAILED = MigrationStatus.MIGRATION_STATUS_ERROR


def resized(server: Server) -> bool:
    return server.vm_state == RESIZED and not server.task_state


def back(server: Server) -> bool:
    """Idle, and not on its way or waiting any more."""
    return not server.task_state and server.vm_state != RESIZED


def failed(server: Server) -> bool:
    return not server.task_state and server.HasField("fault")


def status_of(mover: Mover, migration: str, reached: int) -> None:
    """Waits for it: what is cleaned after a server is free is not told by the server."""
    mover.conductor.engine.wait(_newest(mover, mover.migration(migration).server_id), SECONDS)
    assert mover.migration(migration).status == reached


def _newest(mover: Mover, server_id: str) -> str:
    return mover.conductor.engine.list(subject=server_id, limit=1)[0].id


def full(edges: MovingEdges, *hosts: str) -> server_pb2.ServerBuild:
    """With a port and a volume."""
    network = edges.networks.add_network("private")
    volume = edges.volumes.add()
    return new_build(
        *hosts,
        networks=[NetworkRequest(network_id=network.id)],
        server=new_server(block_devices=[volume_device(source=2, volume_id=volume.id)]),
    )


def devices_are_on(edges: MovingEdges, server: Server, host: str) -> None:
    (port,) = [port for port in edges.networks.ports.values() if port.device_id == server.id]
    assert port.host == host
    ((_, attachment),) = edges.volumes.attachment_ids(server.id)
    assert attachment == server.block_devices[0].attachment_id
    assert edges.volumes.connected[attachment]["host"] == host
    assert attachment in edges.volumes.completed


def test_resized_and_confirmed(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot(full(edges, "host1"))
    with as_user(request_id="req-resize", user_id="somebody"):
        migration = mover.resize(server.id)
    moved = mover.wait(server.id, resized)
    assert (moved.host, moved.node, moved.availability_zone) == ("host2", "host2", "zone of host2")
    assert moved.flavor == LARGE
    assert moved.power_state == PowerState.POWER_STATE_RUNNING
    assert moved.previous_vm_state == ACTIVE
    assert edges.fakes.running(server.id) == ["host2"]
    assert edges.fakes.aside(server.id) == ["host1"]
    # It came with its disk: it was booted once more.
    assert edges.fakes.boots(server.id) == 2
    devices_are_on(edges, moved, "host2")
    assert edges.held(server.id) == {"host2": 2}
    assert edges.held(migration) == {"host1": 1}
    record = mover.migration(migration)
    assert (record.status, record.type) == (FINISHED, MigrationType.MIGRATION_TYPE_RESIZE)
    assert (record.source_host, record.dest_host, record.dest_ip) == ("host1", "host2", "127.0.0.1")
    assert (record.old_flavor.id, record.new_flavor.id) == ("1", "2")
    assert (record.project_id, record.user_id, record.number) == ("project", "somebody", 1)
    assert edges.usage.settled == {}

    action = cell.servers.GetServerAction(
        server_pb2.GetServerActionRequest(server_id=server.id, request_id="req-resize")
    ).action
    assert (action.action, [event.name for event in action.events]) == (
        "resize",
        [
            "conductor_migrate_server",
            "compute_prep_resize",
            "compute_resize_instance",
            "compute_finish_resize",
        ],
    )

    mover.confirm(server.id)
    confirmed = mover.wait(server.id, back)
    assert (confirmed.vm_state, confirmed.host, confirmed.flavor) == (ACTIVE, "host2", LARGE)
    assert edges.fakes.aside(server.id) == []
    assert edges.held(migration) == {}
    assert edges.held(server.id) == {"host2": 2}
    assert edges.usage.settled == {(server.id, migration): (2, 1024)}
    status_of(mover, migration, CONFIRMED)


def test_resized_and_reverted(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot(full(edges, "host1"))
    migration = mover.resize(server.id)
    mover.wait(server.id, resized)
    mover.revert(server.id)
    again = mover.wait(server.id, back)
    status_of(mover, migration, REVERTED)
    assert (again.vm_state, again.host, again.availability_zone) == (ACTIVE, "host1", "nova")
    assert again.flavor == server.flavor
    assert edges.fakes.running(server.id) == ["host1"]
    assert edges.fakes.aside(server.id) == []
    devices_are_on(edges, again, "host1")
    assert edges.held(server.id) == {"host1": 1}
    assert edges.held(migration) == {}
    assert edges.usage.settled == {(server.id, migration): (1, 512)}
    assert edges.fakes.boots(server.id) == 2


def test_a_stopped_server_stays_stopped(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot()
    stop(cell, server.id)
    mover.wait(server.id, lambda s: s.vm_state == STOPPED)
    for end, host in ((mover.revert, "host1"), (mover.confirm, "host2")):
        mover.migrate(server.id)
        moved = mover.wait(server.id, resized)
        assert moved.power_state == PowerState.POWER_STATE_SHUTDOWN
        end(server.id)
        ended = mover.wait(server.id, back)
        assert (ended.vm_state, ended.host) == (STOPPED, host)
        assert edges.fakes.running(server.id) == []
        assert edges.fakes.where(server.id) == [host]
    # The flavor stayed as it was: nothing of its quota was touched.
    assert edges.usage.settled == {}


@pytest.mark.parametrize("options", [{"allow_resize_to_same_host": True}])
def test_on_the_same_host(cell: Conductor, mover: Mover, edges: MovingEdges):
    edges.scheduler.hosts = ["host1"]
    server = cell.boot()
    for end, flavor in ((mover.revert, server.flavor), (mover.confirm, LARGE)):
        migration = mover.resize(server.id)
        moved = mover.wait(server.id, resized)
        assert (moved.host, moved.flavor) == ("host1", LARGE)
        assert edges.held(server.id) == {"host1": 2}
        assert edges.held(migration) == {"host1": 1}
        end(server.id)
        ended = mover.wait(server.id, back)
        assert ended.flavor == flavor
        assert edges.fakes.running(server.id) == ["host1"]
        cell.engine.wait(_newest(mover, server.id), SECONDS)
        assert edges.fakes.aside(server.id) == []


def test_the_own_host_is_no_destination(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot()
    edges.scheduler.hosts = ["host1"]
    migration = mover.resize(server.id)
    after = mover.wait(server.id, failed)
    assert (after.vm_state, after.host) == (ACTIVE, "host1")
    assert after.fault.message == "No valid host was found. Nobody is left."
    assert edges.held(server.id) == {"host1": 1}
    status_of(mover, migration, FAILED)
    assert edges.usage.settled == {(server.id, migration): (1, 512)}


def test_an_alternate_is_tried(cell: Conductor, mover: Mover, edges: MovingEdges):
    """Whether the destination refuses when it is asked, or when the guest arrives."""
    for call in ("check_receive", "receive"):
        server = cell.boot(full(edges, "host1"))
        edges.fakes.fail(call, "HostRefuses", host="host2")
        migration = mover.migrate(server.id)
        moved = mover.wait(server.id, resized)
        assert moved.host == "host3"
        assert edges.fakes.where(server.id) == ["host3"]
        assert edges.held(server.id) == {"host3": 1}
        assert edges.held(migration) == {"host1": 1}
        devices_are_on(edges, moved, "host3")


def test_a_source_that_fails_is_not_the_destinations_fault(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot()
    edges.fakes.fail("set_aside", "HostRefuses")
    mover.migrate(server.id)
    mover.wait(server.id, failed)
    assert len(edges.scheduler.requests) == 1
    assert edges.fakes.running(server.id) == ["host1"]


@pytest.mark.parametrize(
    ("call", "stage"),
    [
        ("check_receive", "begin"),
        ("set_aside", "begin"),
        ("set_aside", "end"),
        ("aside_files", "begin"),
        ("receive", "disks"),
        ("receive", "start"),
    ],
)
@pytest.mark.parametrize("running", [True, False])
def test_whichever_step_fails_the_server_is_as_it_was(
    cell: Conductor, mover: Mover, edges: MovingEdges, call: str, stage: str, running: bool
):
    server = cell.boot(full(edges, "host1"))
    if not running:
        stop(cell, server.id)
        mover.wait(server.id, lambda s: s.vm_state == STOPPED)
    edges.fakes.fail(call, stage=stage)
    migration = mover.resize(server.id)
    after = mover.wait(server.id, failed)
    assert after.vm_state == (ACTIVE if running else STOPPED)
    assert (after.host, after.flavor, after.availability_zone) == ("host1", server.flavor, "nova")
    assert edges.fakes.where(server.id) == ["host1"]
    assert edges.fakes.running(server.id) == (["host1"] if running else [])
    assert edges.fakes.aside(server.id) == []
    devices_are_on(edges, after, "host1")
    assert edges.held(server.id) == {"host1": 1}
    assert edges.held(migration) == {}
    assert edges.usage.settled == {(server.id, migration): (1, 512)}
    assert mover.migration(migration).status == FAILED


def test_ports_that_cannot_be_bound_there(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot(full(edges, "host1"))
    edges.networks.unbindable_hosts = {"host2"}
    mover.migrate(server.id)
    moved = mover.wait(server.id, resized)
    assert moved.host == "host3"
    devices_are_on(edges, moved, "host3")


def test_a_guest_that_cannot_be_put_back(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot()
    edges.fakes.faults.set(
        {"call": "receive", "error": "DriverError"}, {"call": "take_back", "error": "DriverError"}
    )
    mover.resize(server.id)
    after = mover.wait(server.id, failed)
    assert after.vm_state == ERROR
    assert "could not be put back on host host1" in after.fault.message
    assert edges.held(server.id) == {"host1": 1}
    assert edges.fakes.aside(server.id) == ["host1"]


@pytest.mark.parametrize(("call", "host"), [("set_aside", "host2"), ("take_back", "host1")])
def test_a_way_back_that_fails_can_be_tried_again(
    cell: Conductor, mover: Mover, edges: MovingEdges, call: str, host: str
):
    server = cell.boot(full(edges, "host1"))
    migration = mover.resize(server.id)
    mover.wait(server.id, resized)
    edges.fakes.fail(call, host=host)
    mover.revert(server.id)
    after = mover.wait(server.id, failed)
    assert (after.vm_state, after.host, after.flavor) == (RESIZED, "host2", LARGE)
    assert edges.fakes.running(server.id) == ["host2"]
    devices_are_on(edges, after, "host2")
    assert edges.held(server.id) == {"host2": 2}
    assert mover.migration(migration).status == FINISHED
    edges.fakes.faults.set()
    mover.revert(server.id)
    mover.wait(server.id, back)
    status_of(mover, migration, REVERTED)
    assert edges.fakes.running(server.id) == ["host1"]


def test_a_confirmation_that_fails_can_be_tried_again(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot()
    migration = mover.resize(server.id)
    mover.wait(server.id, resized)
    edges.fakes.fail("discard")
    mover.confirm(server.id)
    mover.wait(server.id, lambda s: s.HasField("fault"))
    assert mover.migration(migration).status == FINISHED
    edges.fakes.faults.set()
    mover.confirm(server.id)
    assert mover.wait(server.id, back).vm_state == ACTIVE


def test_what_has_not_moved_is_neither_confirmed_nor_reverted(cell: Conductor, mover: Mover):
    server = cell.boot()
    for end, word in ((mover.confirm, "confirmResize"), (mover.revert, "revertResize")):
        with pytest.raises(errors.FailedPrecondition) as refused:
            end(server.id)
        assert refused.value.reason == "SERVER_STATE"
        assert refused.value.facts["action"] == word
    mover.resize(server.id)
    mover.wait(server.id, resized)
    cell.cell.db.write(
        lambda c: cell.cell.servers.change(c, server.id, lambda s: setattr(s, "task_state", 0))
    )
    mover.confirm(server.id)
    mover.wait(server.id, back)


def test_a_host_that_is_down_confirms_nothing(cell: Conductor, mover: Mover):
    server = cell.boot()
    mover.migrate(server.id)
    mover.wait(server.id, resized)
    down = host_pb2.UpdateComputeServiceRequest(host="host1", forced_down=True)
    cell.hosts.UpdateComputeService(down)
    with pytest.raises(errors.FailedPrecondition) as refused:
        mover.confirm(server.id)
    assert refused.value.reason == "HOST_NOT_READY"


def test_a_host_in_a_move_is_not_removed(cell: Conductor, mover: Mover):
    server = cell.boot()
    mover.migrate(server.id)
    mover.wait(server.id, resized)
    services = cell.hosts.ListComputeServices(host_pb2.ListComputeServicesRequest(host="host1")).services
    with pytest.raises(errors.FailedPrecondition) as refused:
        cell.hosts.DeleteComputeService(host_pb2.DeleteComputeServiceRequest(id=services[0].id))
    assert refused.value.reason == "HOST_IN_USE"


@pytest.mark.parametrize("options", [{"resize_confirm_window": 1, "conductor__confirm_check_interval": 0.05}])
def test_confirmed_by_itself(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot()
    migration = mover.resize(server.id)
    mover.wait(server.id, resized)
    assert mover.wait(server.id, back).host == "host2"
    status_of(mover, migration, CONFIRMED)


@pytest.mark.parametrize("moment", ["resized", "source", "destination"])
def test_a_delete_finds_both_hosts(cell: Conductor, mover: Mover, edges: MovingEdges, moment: str):
    server = cell.boot(full(edges, "host1"))
    if moment != "resized":
        call = {"source": "set_aside", "destination": "receive"}[moment]
        edges.fakes.faults.set({"call": call, "stage": "begin", "delay": 5.0})
    migration = mover.resize(server.id)
    states = {
        "resized": resized,
        "source": lambda s: s.task_state == TaskState.TASK_STATE_RESIZE_MIGRATING,
        "destination": lambda s: s.task_state == TaskState.TASK_STATE_RESIZE_FINISH,
    }
    mover.wait(server.id, states[moment])
    cell.servers.DeleteServer(server_pb2.DeleteServerRequest(id=server.id))
    cell.wait_gone(server.id)
    assert edges.fakes.where(server.id) == []
    assert edges.fakes.aside(server.id) == []
    assert edges.held(server.id) == {}
    assert edges.held(migration) == {}
    assert edges.networks.ports == {}
    assert edges.volumes.attachment_ids(server.id) == []
    assert mover.migration(migration).status == (CONFIRMED if moment == "resized" else FAILED)


SOFTLY = pytest.mark.parametrize("options", [{"reclaim_instance_interval": 3600}])


def softly_deleted(server: Server) -> bool:
    return server.vm_state == VmState.VM_STATE_SOFT_DELETED and not server.task_state


@SOFTLY
def test_a_soft_delete_confirms_first(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot(full(edges, "host1"))
    migration = mover.resize(server.id)
    mover.wait(server.id, resized)
    with as_user(request_id="req-delete"):
        cell.servers.DeleteServer(server_pb2.DeleteServerRequest(id=server.id))
    deleted = mover.wait(server.id, softly_deleted)
    assert (deleted.host, deleted.flavor) == ("host2", LARGE)
    assert deleted.power_state == PowerState.POWER_STATE_SHUTDOWN
    assert mover.migration(migration).status == CONFIRMED
    assert (edges.fakes.where(server.id), edges.fakes.aside(server.id)) == (["host2"], [])
    assert (edges.held(server.id), edges.held(migration)) == ({"host2": 2}, {})
    assert edges.usage.settled[server.id, migration] == (LARGE.vcpus, LARGE.memory_mb)
    assert edges.region.uncharged == {server.id}
    devices_are_on(edges, deleted, "host2")
    done = ["compute_confirm_resize", "compute_soft_delete_instance"]
    assert events(cell, server.id, "req-delete") == ("delete", "", [(each, "Success") for each in done])
    cell.servers.RestoreServer(server_pb2.RestoreServerRequest(id=server.id))
    restored = mover.wait(server.id, lambda s: s.vm_state == ACTIVE and not s.task_state)
    assert (restored.host, restored.flavor) == ("host2", LARGE)
    assert edges.fakes.running(server.id) == ["host2"]


@SOFTLY
@pytest.mark.parametrize("call", ["discard", "power_off"])
def test_a_soft_delete_that_fails_leaves_what_it_has_come_to(
    cell: Conductor, mover: Mover, edges: MovingEdges, call: str
):
    """A server that was not confirmed waits as before; one that was is what it was before the resize."""
    server = cell.boot()
    migration = mover.resize(server.id)
    mover.wait(server.id, resized)
    edges.fakes.fail(call)
    cell.servers.DeleteServer(server_pb2.DeleteServerRequest(id=server.id))
    left = mover.wait(server.id, failed)
    waits = call == "discard"
    assert left.vm_state == (RESIZED if waits else ACTIVE)
    assert mover.migration(migration).status == (FINISHED if waits else CONFIRMED)
    assert edges.fakes.running(server.id) == ["host2"]
    assert edges.region.uncharged == set()
    edges.fakes.faults.set()
    cell.servers.DeleteServer(server_pb2.DeleteServerRequest(id=server.id))
    mover.wait(server.id, softly_deleted)
    assert mover.migration(migration).status == CONFIRMED


@SOFTLY
def test_what_is_on_its_way_is_deleted_for_good(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot()
    edges.fakes.faults.set({"call": "receive", "stage": "begin", "delay": 5.0})
    mover.resize(server.id)
    mover.wait(server.id, lambda s: s.task_state == TaskState.TASK_STATE_RESIZE_FINISH)
    cell.servers.DeleteServer(server_pb2.DeleteServerRequest(id=server.id))
    cell.wait_gone(server.id)
    assert edges.fakes.where(server.id) == edges.fakes.aside(server.id) == []


def test_guests_of_a_move_are_no_orphans(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot()
    edges.fakes.faults.set({"call": "receive", "stage": "begin", "delay": 0.5})
    mover.migrate(server.id)
    mover.wait(server.id, lambda s: s.task_state == TaskState.TASK_STATE_RESIZE_FINISH)
    report = host_pb2.GuestReport(host="host2", server_id=server.id, power_state=1)
    stray = host_pb2.GuestReport(host="host3", server_id=server.id, power_state=1)
    answer = cell.hosts.ReportGuests(host_pb2.ReportGuestsRequest(guests=[report]))
    assert list(answer.unknown_server_ids) == []
    answer = cell.hosts.ReportGuests(host_pb2.ReportGuestsRequest(guests=[stray]))
    assert list(answer.unknown_server_ids) == [server.id]
    mover.wait(server.id, resized)


def test_a_repeated_call_begins_nothing_anew(cell: Conductor, mover: Mover):
    server = cell.boot()
    migration = mover.resize(server.id)
    mover._number -= 1
    assert mover.resize(server.id) == migration
    mover.wait(server.id, resized)
    assert len(cell.engine.list(subject=server.id)) == 2
