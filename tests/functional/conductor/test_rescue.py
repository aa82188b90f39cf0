"""Rescue and its end: what happens, when it is refused, how it fails."""

from __future__ import annotations

import uuid

import pytest

from protonova.common.v1.server_pb2 import ImageSnapshot, PowerState, TaskState, VmState
from protonova.conductor.v1 import host_pb2, server_pb2
from protonova.services.runtime import errors
from tests.functional.conductor.test_delete import assert_nothing_left, delete, full_build
from tests.functional.conductor.test_password import PASSWORD, kept
from tests.functional.conductor.test_power import ACTIVE, STOPPED, change, events, idle, stop
from tests.support.conductor import Conductor, Edges, as_user, unblocked

RESCUED = VmState.VM_STATE_RESCUED
IMAGE = ImageSnapshot(id=str(uuid.UUID(int=7)), disk_format="raw")


def rescue(cell: Conductor, server_id: str) -> None:
    request = server_pb2.RescueServerRequest(id=server_id, image=IMAGE, admin_password=PASSWORD)
    cell.servers.RescueServer(request)


def unrescue(cell: Conductor, server_id: str) -> None:
    cell.servers.UnrescueServer(server_pb2.UnrescueServerRequest(id=server_id))


@pytest.mark.parametrize("before", [ACTIVE, STOPPED, VmState.VM_STATE_ERROR])
def test_there_and_back(cell: Conductor, edges: Edges, before):
    server = cell.boot()
    change(cell, server.id, vm_state=before)
    with as_user(request_id="req-rescue"):
        rescue(cell, server.id)
    rescued = cell.wait(server.id, lambda s: s.vm_state == RESCUED)
    assert rescued.power_state == PowerState.POWER_STATE_RUNNING
    assert rescued.image.id == server.image.id
    assert rescued.previous_vm_state == before
    assert edges.guests.rescued == {server.id: IMAGE.id}
    assert events(cell, server.id, "req-rescue") == ("rescue", "", [("compute_rescue_instance", "Success")])
    assert PASSWORD not in kept(cell)
    with pytest.raises(errors.FailedPrecondition):
        stop(cell, server.id)
    with as_user(request_id="req-unrescue"):
        unrescue(cell, server.id)
    back = cell.wait(server.id, lambda s: s.vm_state == ACTIVE)
    assert back.power_state == PowerState.POWER_STATE_RUNNING
    assert edges.guests.rescued == {}
    assert events(cell, server.id, "req-unrescue") == (
        "unrescue",
        "",
        [("compute_unrescue_instance", "Success")],
    )


@pytest.mark.parametrize("before", [ACTIVE, STOPPED])
def test_a_rescue_that_fails_leaves_the_server_as_it_was(cell: Conductor, edges: Edges, before):
    server = cell.boot()
    if before == STOPPED:
        stop(cell, server.id)
        cell.wait(server.id, lambda s: s.vm_state == STOPPED)
    edges.guests.fail("RescueGuest", errors.FailedPrecondition("Not that.", reason="IMAGE_UNACCEPTABLE"))
    rescue(cell, server.id)
    after = cell.wait(server.id, lambda s: idle(s) and s.HasField("fault"))
    assert after.vm_state == before
    assert after.fault.message == "Not that."
    assert edges.guests.calls[-1][0] == "UnrescueGuest"
    running = edges.guests.guests["host1", server.id].power_state == PowerState.POWER_STATE_RUNNING
    assert running is (before == ACTIVE)
    assert PASSWORD not in kept(cell)


def test_a_rescue_whose_host_goes_down_does_not_wait_for_it(cell: Conductor, edges: Edges):
    server = cell.boot()
    cell.hosts.UpdateComputeService(host_pb2.UpdateComputeServiceRequest(host="host1", forced_down=True))
    rescue(cell, server.id)
    after = cell.wait(server.id, lambda s: idle(s) and s.HasField("fault"))
    assert after.vm_state == ACTIVE
    assert "HOST_NOT_READY" in after.fault.details


def test_a_guest_that_cannot_be_put_back_holds_nothing_up(cell: Conductor, edges: Edges):
    server = cell.boot()
    edges.guests.fail("RescueGuest", errors.FailedPrecondition("Not that.", reason="IMAGE_UNACCEPTABLE"))
    edges.guests.always_fail("UnrescueGuest", errors.FailedPrecondition("Nor that.", reason="HOST_REFUSES"))
    rescue(cell, server.id)
    after = cell.wait(server.id, lambda s: idle(s) and s.HasField("fault"))
    assert after.vm_state == ACTIVE
    report = host_pb2.GuestReport(host="host1", server_id=server.id, power_state="POWER_STATE_SHUTDOWN")
    edges.guests.guests["host1", server.id].power_state = report.power_state
    cell.hosts.ReportGuests(host_pb2.ReportGuestsRequest(guests=[report]))
    cell.wait(server.id, lambda s: s.vm_state == STOPPED)


def test_an_unrescue_that_fails_leaves_it_rescued(cell: Conductor, edges: Edges):
    server = cell.boot()
    rescue(cell, server.id)
    cell.wait(server.id, lambda s: s.vm_state == RESCUED)
    edges.guests.fail("UnrescueGuest", errors.Internal("It does not."))
    unrescue(cell, server.id)
    after = cell.wait(server.id, lambda s: idle(s) and s.HasField("fault"))
    assert after.vm_state == RESCUED
    unrescue(cell, server.id)
    cell.wait(server.id, lambda s: s.vm_state == ACTIVE)


def test_a_volume_on_its_way_forbids_it(cell: Conductor, edges: Edges):
    build, _, _ = full_build(edges, "host1")
    server = cell.boot(build)

    def loosen(changed):
        changed.block_devices[0].ClearField("attachment_id")

    cell.cell.db.write(lambda connection: cell.cell.servers.change(connection, server.id, loosen))
    with pytest.raises(errors.FailedPrecondition) as caught:
        rescue(cell, server.id)
    assert caught.value.reason == "VOLUME_NOT_ATTACHED"
    assert cell.get(server.id).task_state == TaskState.TASK_STATE_UNSPECIFIED


def test_a_delete_preempts_it(cell: Conductor, edges: Edges):
    server = cell.boot()
    gate = edges.guests.gate("RescueGuest")
    rescue(cell, server.id)
    unblocked(gate.reached)
    assert cell.get(server.id).task_state == TaskState.TASK_STATE_RESCUING
    delete(cell, server.id)
    gate.open.set()
    cell.wait_gone(server.id)
    assert_nothing_left(edges, server.id)
    assert PASSWORD not in kept(cell)


def test_wrong_states(cell: Conductor):
    server = cell.boot()
    with pytest.raises(errors.FailedPrecondition):
        unrescue(cell, server.id)
    change(cell, server.id, vm_state=VmState.VM_STATE_PAUSED)
    with pytest.raises(errors.FailedPrecondition):
        rescue(cell, server.id)
