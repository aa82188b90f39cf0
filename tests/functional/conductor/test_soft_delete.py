"""Deletions with a way back: what stays, what comes back, and what is reclaimed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from protonova.common.v1 import upkeep_pb2
from protonova.common.v1.server_pb2 import LockHolder, PowerState, Server, VmState
from protonova.conductor.v1 import host_pb2, server_image_pb2, server_pb2
from protonova.services.runtime import errors
from tests.functional.conductor.test_delete import assert_nothing_left, full_build
from tests.functional.conductor.test_power import ACTIVE, change, events, idle, stop
from tests.support.conductor import Conductor, Edges, as_user, new_build, unblocked

SOFT = VmState.VM_STATE_SOFT_DELETED
OFF = PowerState.POWER_STATE_SHUTDOWN
HOUR = 3600


@pytest.fixture
def cell(tmp_path: Path, edges: Edges) -> Iterator[Conductor]:
    conductor = Conductor(tmp_path, edges, reclaim_instance_interval=HOUR)
    conductor.report("host1")
    yield conductor
    conductor.close()


def delete(cell: Conductor, server_id: str, *, force: bool = False) -> None:
    cell.servers.DeleteServer(server_pb2.DeleteServerRequest(id=server_id, force=force))


def restore(cell: Conductor, server_id: str) -> None:
    cell.servers.RestoreServer(server_pb2.RestoreServerRequest(id=server_id))


def reclaim(cell: Conductor) -> int:
    """How many servers it begins to delete."""
    done = cell.upkeep.RunUpkeep(upkeep_pb2.RunUpkeepRequest(name="reclaim-servers"))
    return done.upkeep.last_count


def softly_deleted(cell: Conductor) -> Server:
    server = cell.boot()
    delete(cell, server.id)
    return cell.wait(server.id, lambda s: s.vm_state == SOFT and idle(s))


def test_it_is_off_and_keeps_what_it_has(cell: Conductor, edges: Edges):
    build, _, _ = full_build(edges, "host1")
    server = cell.boot(build)
    with as_user(request_id="req-delete"):
        delete(cell, server.id)
    gone = cell.wait(server.id, lambda s: s.vm_state == SOFT)
    assert gone.power_state == OFF
    assert gone.HasField("soft_deleted_at")
    assert not gone.HasField("deleted_at")
    assert edges.guests.where(server.id) == ["host1"]
    assert edges.allocations.providers(server.id)
    assert edges.region.uncharged == {server.id}
    assert edges.region.released == []
    assert edges.networks.ports_of(server.id)
    assert events(cell, server.id, "req-delete") == (
        "delete",
        "",
        [("compute_soft_delete_instance", "Success")],
    )
    listed = cell.servers.ListServers(server_pb2.ListServersRequest(page_size=10)).servers
    assert [one.id for one in listed] == []


def test_a_second_delete_begins_nothing_and_a_forced_one_ends_it(cell: Conductor, edges: Edges):
    server = softly_deleted(cell)
    delete(cell, server.id)
    assert cell.get(server.id).generation == server.generation
    delete(cell, server.id, force=True)
    cell.wait_gone(server.id)
    assert_nothing_left(edges, server.id)


def test_a_server_that_never_ran_is_gone_at_once(cell: Conductor, edges: Edges):
    gate = edges.guests.gate("SpawnGuest")
    build = new_build("host1")
    cell.create(build)
    unblocked(gate.reached)
    delete(cell, build.server.id)
    gate.open.set()
    cell.wait_gone(build.server.id)


def test_restore(cell: Conductor, edges: Edges):
    server = softly_deleted(cell)
    with as_user(request_id="req-restore"):
        restore(cell, server.id)
    back = cell.wait(server.id, lambda s: s.vm_state == ACTIVE and idle(s))
    assert back.power_state == PowerState.POWER_STATE_RUNNING
    assert not back.HasField("soft_deleted_at")
    assert edges.region.uncharged == set()
    assert events(cell, server.id, "req-restore") == (
        "restore",
        "",
        [("compute_restore_instance", "Success")],
    )
    with pytest.raises(errors.FailedPrecondition):
        restore(cell, server.id)


@pytest.mark.parametrize("where", ["quota", "guest"])
def test_a_restore_that_fails_leaves_it_deleted_softly(cell: Conductor, edges: Edges, where: str):
    server = softly_deleted(cell)
    if where == "quota":
        edges.region.errors.append(errors.QuotaExceeded("No more.", reason="QUOTA_EXCEEDED"))
    else:
        edges.guests.fail("StartGuest", errors.Internal("It does not start."))
    restore(cell, server.id)
    after = cell.wait(server.id, lambda s: idle(s) and s.HasField("fault"))
    assert after.vm_state == SOFT
    assert after.soft_deleted_at == server.soft_deleted_at
    assert edges.region.uncharged == {server.id}
    restore(cell, server.id)
    cell.wait(server.id, lambda s: s.vm_state == ACTIVE)


def test_a_soft_delete_that_fails_leaves_the_server_as_it_was(cell: Conductor, edges: Edges):
    server = cell.boot()
    edges.guests.fail("StopGuest", errors.Internal("It does not stop."))
    delete(cell, server.id)
    after = cell.wait(server.id, lambda s: idle(s) and s.HasField("fault"))
    assert after.vm_state == ACTIVE
    assert edges.region.uncharged == set()


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_guest_that_was_switched_off_for_nothing(cell: Conductor, edges: Edges, comes_back: bool):
    server = cell.boot()
    edges.region.errors.append(errors.NotFound("Who?", reason="SERVER_NOT_FOUND"))
    if not comes_back:
        edges.guests.fail("StartGuest", errors.Internal("It does not start."))
    delete(cell, server.id)
    after = cell.wait(server.id, lambda s: idle(s) and s.HasField("fault"))
    assert (after.vm_state == ACTIVE) is comes_back
    assert (after.power_state == PowerState.POWER_STATE_RUNNING) is comes_back
    assert edges.region.uncharged == set()


def test_it_preempts_what_is_under_way(cell: Conductor, edges: Edges):
    server = cell.boot()
    gate = edges.guests.gate("RebootGuest")
    cell.servers.RebootServer(server_pb2.RebootServerRequest(id=server.id, hard=True))
    unblocked(gate.reached)
    delete(cell, server.id)
    gate.open.set()
    assert cell.wait(server.id, lambda s: s.vm_state == SOFT).power_state == OFF


def test_a_lock_forbids_it(cell: Conductor):
    server = cell.boot()
    change(cell, server.id, locked_by=LockHolder.LOCK_HOLDER_OWNER)
    with as_user(), pytest.raises(errors.FailedPrecondition) as caught:
        delete(cell, server.id)
    assert caught.value.reason == "SERVER_LOCKED"


def test_a_host_that_was_down_has_its_guest_switched_off_later(cell: Conductor, edges: Edges):
    server = cell.boot()
    service = host_pb2.UpdateComputeServiceRequest(host="host1", forced_down=True)
    cell.hosts.UpdateComputeService(service)
    delete(cell, server.id)
    cell.wait(server.id, lambda s: s.vm_state == SOFT)
    assert edges.guests.guests["host1", server.id].power_state == PowerState.POWER_STATE_RUNNING
    service.forced_down = False
    cell.hosts.UpdateComputeService(service)
    report = host_pb2.GuestReport(host="host1", server_id=server.id, power_state="POWER_STATE_RUNNING")
    cell.hosts.ReportGuests(host_pb2.ReportGuestsRequest(guests=[report]))
    after = cell.wait(server.id, lambda s: s.power_state == OFF)
    assert after.vm_state == SOFT
    assert edges.guests.guests["host1", server.id].power_state == OFF
    # Nobody asked for it: it is no action.
    actions = cell.servers.ListServerActions(server_pb2.ListServerActionsRequest(server_id=server.id))
    assert [action.action for action in actions.actions] == ["delete", "create"]


def older(cell: Conductor, server_id: str, seconds: int) -> None:
    def alter(server: Server) -> None:
        server.soft_deleted_at.seconds -= seconds

    cell.cell.db.write(lambda connection: cell.cell.servers.change(connection, server_id, alter))


def test_a_server_without_a_host_is_deleted_for_good(cell: Conductor, edges: Edges):
    """Nothing of it could be started again."""
    server = cell.boot()
    cell.images.ShelveServer(server_image_pb2.ShelveServerRequest(id=server.id))
    cell.wait(server.id, lambda s: s.vm_state == VmState.VM_STATE_SHELVED_OFFLOADED and idle(s))
    delete(cell, server.id)
    cell.wait_gone(server.id)
    assert_nothing_left(edges, server.id)


def test_reclaim(cell: Conductor, edges: Edges):
    old, young = softly_deleted(cell), softly_deleted(cell)
    running = cell.boot()
    assert reclaim(cell) == 0
    older(cell, old.id, HOUR)
    older(cell, young.id, HOUR - 60)
    assert reclaim(cell) == 1
    assert reclaim(cell) == 0
    cell.wait_gone(old.id)
    assert_nothing_left(edges, old.id)
    assert cell.get(young.id).vm_state == SOFT
    assert cell.get(running.id).vm_state == ACTIVE


def test_two_replicas_reclaim_a_server_once(cell: Conductor, edges: Edges, tmp_path: Path):
    other = Conductor(tmp_path, edges, reclaim_instance_interval=HOUR)
    server = softly_deleted(cell)
    older(cell, server.id, HOUR)
    assert reclaim(cell) + reclaim(other) == 1
    cell.wait_gone(server.id)
    other.close()


def test_a_restored_server_is_not_reclaimed(cell: Conductor, edges: Edges):
    server = softly_deleted(cell)
    older(cell, server.id, HOUR)
    gate = edges.guests.gate("StartGuest")
    restore(cell, server.id)
    unblocked(gate.reached)
    assert reclaim(cell) == 0
    gate.open.set()
    cell.wait(server.id, lambda s: s.vm_state == ACTIVE)
    assert reclaim(cell) == 0


def test_it_is_reclaimed_by_itself(tmp_path: Path, edges: Edges):
    conductor = Conductor(
        tmp_path, edges, reclaim_instance_interval=1, conductor__reclaim_check_interval=0.05
    )
    conductor.report("host1")
    server = conductor.boot()
    delete(conductor, server.id)
    conductor.wait_gone(server.id)
    assert_nothing_left(edges, server.id)
    conductor.close()


def test_a_reset_makes_it_count_again(cell: Conductor, edges: Edges):
    server = softly_deleted(cell)
    cell.servers.ResetServerState(
        server_pb2.ResetServerStateRequest(id=server.id, vm_state=VmState.VM_STATE_ERROR)
    )
    operation = cell.engine.list(subject=server.id)[0]
    assert cell.engine.wait(operation.id, 10).state == "done"
    assert edges.region.uncharged == set()
    assert not cell.get(server.id).HasField("soft_deleted_at")
    stop(cell, server.id)
    cell.wait(server.id, lambda s: s.vm_state == VmState.VM_STATE_STOPPED)
