"""Pause, suspend, crash dump, diagnostics, reset of a state: what happens, when it is refused, how it fails."""

from __future__ import annotations

import pytest

from protonova.common.v1.server_pb2 import LockHolder, PowerState, TaskState, VmState
from protonova.conductor.v1 import server_pb2
from protonova.services.runtime import errors
from tests.functional.conductor.test_power import ACTIVE, STOPPED, change, events, idle, stop
from tests.support.conductor import Conductor, Edges, as_user, new_build, unblocked

PAUSED = VmState.VM_STATE_PAUSED
SUSPENDED = VmState.VM_STATE_SUSPENDED
ERROR = VmState.VM_STATE_ERROR

# action -> (state it needs, state after, power state after, call to the agent, event)
CHANGES = {
    "Pause": (ACTIVE, PAUSED, "PAUSED", "PauseGuest", "compute_pause_instance"),
    "Unpause": (PAUSED, ACTIVE, "RUNNING", "UnpauseGuest", "compute_unpause_instance"),
    "Suspend": (ACTIVE, SUSPENDED, "SUSPENDED", "SuspendGuest", "compute_suspend_instance"),
    "Resume": (SUSPENDED, ACTIVE, "RUNNING", "ResumeGuest", "compute_resume_instance"),
}


def act(cell: Conductor, name: str, server_id: str) -> None:
    request = getattr(server_pb2, f"{name}ServerRequest")(id=server_id)
    getattr(cell.servers, f"{name}Server")(request)


def dump(cell: Conductor, server_id: str) -> None:
    cell.servers.TriggerCrashDump(server_pb2.TriggerCrashDumpRequest(id=server_id))


def reset(cell: Conductor, server_id: str, state: VmState.ValueType) -> None:
    cell.servers.ResetServerState(server_pb2.ResetServerStateRequest(id=server_id, vm_state=state))


def booted(cell: Conductor, needs: VmState.ValueType) -> str:
    """A server in one of the states of the table."""
    server = cell.boot()
    for name in ("Pause", "Suspend"):
        if CHANGES[name][1] == needs:
            act(cell, name, server.id)
            cell.wait(server.id, lambda s: s.vm_state == needs)
    return server.id


@pytest.mark.parametrize("name", CHANGES)
def test_a_change(cell: Conductor, name: str):
    needs, becomes, power, _, event = CHANGES[name]
    server_id = booted(cell, needs)
    with as_user(request_id="req-change"):
        act(cell, name, server_id)
    server = cell.wait(server_id, lambda s: idle(s) and s.vm_state == becomes)
    assert server.power_state == PowerState.Value(f"POWER_STATE_{power}")
    assert events(cell, server_id, "req-change") == (name.lower(), "", [(event, "Success")])


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_that_fails_leaves_the_server_as_it_was(cell: Conductor, edges: Edges, name: str):
    needs, _, _, call, event = CHANGES[name]
    server_id = booted(cell, needs)
    edges.guests.fail(call, errors.FailedPrecondition("It will not.", reason="GUEST_IN_WRONG_STATE"))
    with as_user(request_id="req-bad"):
        act(cell, name, server_id)
    server = cell.wait(server_id, lambda s: idle(s) and s.HasField("fault"))
    assert server.vm_state == needs
    assert server.fault.message == "It will not."
    assert events(cell, server_id, "req-bad") == (name.lower(), "Error", [(event, "Error")])


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_tried_again_when_the_hypervisor_was_away(cell: Conductor, edges: Edges, name: str):
    needs, becomes, _, call, _ = CHANGES[name]
    server_id = booted(cell, needs)
    edges.guests.fail(call, errors.Unavailable("Away.", reason="HYPERVISOR_UNAVAILABLE"))
    act(cell, name, server_id)
    cell.wait(server_id, lambda s: idle(s) and s.vm_state == becomes)


@pytest.mark.parametrize("name", CHANGES)
def test_a_lock_and_a_wrong_state_forbid_it(cell: Conductor, name: str):
    needs = CHANGES[name][0]
    server_id = booted(cell, needs)
    change(cell, server_id, locked_by=LockHolder.LOCK_HOLDER_OWNER)
    with as_user(), pytest.raises(errors.FailedPrecondition) as caught:
        act(cell, name, server_id)
    assert caught.value.reason == "SERVER_LOCKED"
    unlocked = LockHolder.LOCK_HOLDER_UNSPECIFIED
    change(cell, server_id, locked_by=unlocked, vm_state=VmState.VM_STATE_RESCUED)
    with pytest.raises(errors.FailedPrecondition) as caught:
        act(cell, name, server_id)
    assert caught.value.reason == "SERVER_STATE"
    assert caught.value.facts["action"] == name.lower()
    assert caught.value.facts["value"] == "rescued"


def test_a_paused_server_cannot_be_paused_again(cell: Conductor, edges: Edges):
    server = cell.boot()
    gate = edges.guests.gate("PauseGuest")
    act(cell, "Pause", server.id)
    unblocked(gate.reached)
    assert cell.get(server.id).task_state == TaskState.TASK_STATE_PAUSING
    with pytest.raises(errors.FailedPrecondition) as caught:
        act(cell, "Pause", server.id)
    assert caught.value.facts["attribute"] == "task_state"
    gate.open.set()
    cell.wait(server.id, lambda s: s.vm_state == PAUSED)


def test_a_crash_dump_changes_nothing(cell: Conductor, edges: Edges):
    server = cell.boot()
    with as_user(request_id="req-dump"):
        dump(cell, server.id)
    done = cell.engine.wait(cell.engine.list(subject=server.id)[0].id, 10)
    assert done.state == "done"
    assert events(cell, server.id, "req-dump")[2] == [("compute_trigger_crash_dump", "Success")]
    after = cell.get(server.id)
    assert (after.vm_state, after.task_state) == (ACTIVE, TaskState.TASK_STATE_UNSPECIFIED)
    assert edges.guests.calls[-1][0] == "TriggerGuestCrashDump"
    change(cell, server.id, vm_state=STOPPED)
    with pytest.raises(errors.FailedPrecondition):
        dump(cell, server.id)


def test_diagnostics(cell: Conductor, edges: Edges):
    server = cell.boot()
    request = server_pb2.GetServerDiagnosticsRequest(id=server.id)
    assert cell.servers.GetServerDiagnostics(request).diagnostics.cpus[0].time == 7
    # Neither a lock nor a task forbids to look.
    change(cell, server.id, locked_by=LockHolder.LOCK_HOLDER_ADMIN)
    with as_user():
        cell.servers.GetServerDiagnostics(request)
    change(cell, server.id, locked_by=LockHolder.LOCK_HOLDER_UNSPECIFIED)
    stop(cell, server.id)
    cell.wait(server.id, lambda s: s.vm_state == STOPPED)
    with pytest.raises(errors.FailedPrecondition) as caught:
        cell.servers.GetServerDiagnostics(request)
    assert caught.value.reason == "SERVER_STATE"
    assert caught.value.facts["attribute"] == "power_state"
    edges.guests.fail("GetGuestDiagnostics", errors.Unimplemented("Not here.", reason="UNSUPPORTED"))
    with pytest.raises(errors.Unimplemented):
        cell.servers.GetServerDiagnostics(request)
    change(cell, server.id, host="")
    with pytest.raises(errors.FailedPrecondition) as caught:
        cell.servers.GetServerDiagnostics(request)
    assert caught.value.reason == "HOST_NOT_READY"


def test_network_info_is_told_to_nobody(cell: Conductor, edges: Edges):
    server = cell.boot()
    before = list(edges.guests.calls)
    cell.servers.InjectNetworkInfo(server_pb2.InjectNetworkInfoRequest(id=server.id))
    assert edges.guests.calls == before
    change(cell, server.id, locked_by=LockHolder.LOCK_HOLDER_OWNER)
    with as_user(), pytest.raises(errors.FailedPrecondition):
        cell.servers.InjectNetworkInfo(server_pb2.InjectNetworkInfoRequest(id=server.id))


@pytest.mark.parametrize("state", [ACTIVE, ERROR])
def test_a_reset_ends_what_is_under_way(cell: Conductor, edges: Edges, state):
    server = cell.boot()
    gate = edges.guests.gate("StopGuest")
    stop(cell, server.id)
    unblocked(gate.reached)
    with as_user(request_id="req-reset", is_admin=True):
        reset(cell, server.id, state)
    # At once, whatever the host does.
    after = cell.get(server.id)
    assert (after.vm_state, after.task_state) == (state, TaskState.TASK_STATE_UNSPECIFIED)
    gate.open.set()
    stopped, resetting = reversed(cell.engine.list(subject=server.id, limit=2))
    assert cell.engine.wait(resetting.id, 10).state == "done"
    assert cell.engine.get(stopped.id).state == "preempted"
    assert cell.get(server.id).vm_state == state
    assert events(cell, server.id, "req-reset") == ("resetState", "", [("compute_reset_state", "Success")])
    if state == ERROR:
        stop(cell, server.id)
        cell.wait(server.id, lambda s: s.vm_state == STOPPED)


def test_a_reset_wants_a_state_that_can_be_reset_to(cell: Conductor):
    server = cell.boot()
    with pytest.raises(errors.InvalidArgument) as caught:
        reset(cell, server.id, STOPPED)
    assert caught.value.facts["field"] == "vm_state"


def test_a_build_that_was_reset_can_be_deleted(cell: Conductor, edges: Edges):
    gate = edges.guests.gate("SpawnGuest")
    build = new_build("host1")
    cell.create(build)
    unblocked(gate.reached)
    reset(cell, build.server.id, ERROR)
    gate.open.set()
    cell.servers.DeleteServer(server_pb2.DeleteServerRequest(id=build.server.id))
    cell.wait_gone(build.server.id)
    assert edges.guests.where(build.server.id) == []
    assert build.server.id not in edges.allocations.held
