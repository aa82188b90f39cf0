"""Start, stop, reboot: what happens, when they are refused, how they fail."""

from __future__ import annotations

import pytest

from protonova.common.v1.server_pb2 import LockHolder, PowerState, Server, TaskState, VmState
from protonova.conductor.v1 import host_pb2, server_pb2
from protonova.services.runtime import errors
from tests.support.conductor import SECONDS, Conductor, Edges, as_user, unblocked

ACTIVE = VmState.VM_STATE_ACTIVE
STOPPED = VmState.VM_STATE_STOPPED
IDLE = TaskState.TASK_STATE_UNSPECIFIED


def stop(cell: Conductor, server_id: str) -> None:
    cell.servers.StopServer(server_pb2.StopServerRequest(id=server_id))


def start(cell: Conductor, server_id: str) -> None:
    cell.servers.StartServer(server_pb2.StartServerRequest(id=server_id))


def reboot(cell: Conductor, server_id: str, *, hard: bool = False) -> None:
    cell.servers.RebootServer(server_pb2.RebootServerRequest(id=server_id, hard=hard))


def change(cell: Conductor, server_id: str, **fields) -> None:
    """Puts a server into a state no action of these would bring it to."""

    def alter(server: Server) -> None:
        for name, value in fields.items():
            if value is None:
                server.ClearField(name)
            else:
                setattr(server, name, value)

    cell.cell.db.write(lambda connection: cell.cell.servers.change(connection, server_id, alter))


def idle(server: Server) -> bool:
    return server.task_state == IDLE


def events(cell: Conductor, server_id: str, request_id: str):
    request = server_pb2.GetServerActionRequest(server_id=server_id, request_id=request_id)
    action = cell.servers.GetServerAction(request).action
    return action.action, action.message, [(event.name, event.result) for event in action.events]


def test_a_call_that_is_sent_again_begins_nothing(cell: Conductor):
    """The answer was lost with a connection."""
    server = cell.boot()
    for _ in range(2):
        with as_user(request_id="req-stop"):
            stop(cell, server.id)
    cell.wait(server.id, lambda s: s.vm_state == STOPPED)
    with as_user(request_id="req-stop"):
        stop(cell, server.id)
    assert [one.kind for one in cell.engine.list(subject=server.id)] == ["stop", "create"]
    with as_user(request_id="req-again"), pytest.raises(errors.FailedPrecondition):
        stop(cell, server.id)


def test_stop_start_reboot(cell: Conductor, edges: Edges):
    server = cell.boot()
    with as_user(request_id="req-stop"):
        stop(cell, server.id)
    stopped = cell.wait(server.id, lambda s: s.vm_state == STOPPED)
    assert stopped.task_state == IDLE
    assert stopped.power_state == PowerState.POWER_STATE_SHUTDOWN
    assert stopped.launched_at == server.launched_at
    assert events(cell, server.id, "req-stop") == ("stop", "", [("compute_stop_instance", "Success")])

    with as_user(request_id="req-start"):
        start(cell, server.id)
    started = cell.wait(server.id, lambda s: s.vm_state == ACTIVE)
    assert started.power_state == PowerState.POWER_STATE_RUNNING
    assert events(cell, server.id, "req-start") == ("start", "", [("compute_start_instance", "Success")])

    for hard in (False, True):
        with as_user(request_id=f"req-{hard}"):
            reboot(cell, server.id, hard=hard)
        cell.wait(server.id, idle)
        assert events(cell, server.id, f"req-{hard}") == (
            "reboot",
            "",
            [("compute_reboot_instance", "Success")],
        )
    fences = edges.guests.fences
    assert [fence.sequence for fence in fences] == sorted(fence.sequence for fence in fences)


@pytest.mark.parametrize(
    ("action", "fields", "attribute", "value"),
    [
        (start, {}, "vm_state", "active"),
        (start, {"vm_state": VmState.VM_STATE_SOFT_DELETED}, "vm_state", "soft-delete"),
        (stop, {"vm_state": VmState.VM_STATE_PAUSED}, "vm_state", "paused"),
        (reboot, {"vm_state": STOPPED}, "vm_state", "stopped"),
        (stop, {"task_state": TaskState.TASK_STATE_POWERING_OFF}, "task_state", "powering-off"),
        (reboot, {"task_state": TaskState.TASK_STATE_REBOOTING}, "task_state", "rebooting"),
        (stop, {"launched_at": None}, "launched_at", "None"),
    ],
)
def test_the_wrong_state(cell: Conductor, action, fields, attribute, value):
    server = cell.boot()
    change(cell, server.id, **fields)
    with pytest.raises(errors.FailedPrecondition) as caught:
        action(cell, server.id)
    assert caught.value.reason == "SERVER_STATE"
    assert caught.value.facts == {
        "server_id": server.id,
        "action": action.__name__,
        "attribute": attribute,
        "value": value,
    }


@pytest.mark.parametrize("action", [stop, reboot])
def test_no_host(cell: Conductor, action):
    server = cell.boot()
    change(cell, server.id, host="")
    with pytest.raises(errors.FailedPrecondition) as caught:
        action(cell, server.id)
    assert caught.value.reason == "HOST_NOT_READY"


@pytest.mark.parametrize("action", [stop, start, reboot])
def test_no_such_server(cell: Conductor, action):
    with pytest.raises(errors.NotFound) as caught:
        action(cell, "11111111-1111-1111-1111-111111111111")
    assert caught.value.reason == "SERVER_NOT_FOUND"


def test_a_lock_keeps_users_out_but_no_administrator(cell: Conductor):
    server = cell.boot()
    change(cell, server.id, locked_by=LockHolder.LOCK_HOLDER_OWNER)
    with as_user(), pytest.raises(errors.FailedPrecondition) as caught:
        stop(cell, server.id)
    assert caught.value.reason == "SERVER_LOCKED"
    with as_user(is_admin=True):
        stop(cell, server.id)
    cell.wait(server.id, lambda s: s.vm_state == STOPPED)


def test_of_two_that_exclude_each_other_one_wins(cell: Conductor, edges: Edges):
    server = cell.boot()
    gate = edges.guests.gate("StopGuest")
    stop(cell, server.id)
    unblocked(gate.reached)
    with pytest.raises(errors.FailedPrecondition):
        stop(cell, server.id)
    gate.open.set()
    cell.wait(server.id, lambda s: s.vm_state == STOPPED)


def test_a_hard_reboot_waits_for_a_soft_one_and_keeps_its_task_state(cell: Conductor, edges: Edges):
    server = cell.boot()
    gate = edges.guests.gate("RebootGuest")
    reboot(cell, server.id)
    unblocked(gate.reached)
    reboot(cell, server.id, hard=True)
    assert cell.get(server.id).task_state == TaskState.TASK_STATE_REBOOTING_HARD
    gate.open.set()
    cell.wait(server.id, idle)
    assert [call[0] for call in edges.guests.calls].count("RebootGuest") == 2


def test_a_failure_leaves_the_server_as_it_was(cell: Conductor, edges: Edges):
    server = cell.boot()
    edges.guests.fail("StopGuest", errors.Internal("The hypervisor is confused."))
    with as_user(request_id="req-bad"):
        stop(cell, server.id)
    after = cell.wait(server.id, lambda s: idle(s) and s.HasField("fault"))
    assert after.vm_state == ACTIVE
    assert after.fault.message == "The hypervisor is confused."
    assert events(cell, server.id, "req-bad") == ("stop", "Error", [("compute_stop_instance", "Error")])


def test_a_hard_reboot_that_fails_leaves_an_error(cell: Conductor, edges: Edges):
    server = cell.boot()
    edges.guests.fail("RebootGuest", errors.NotFound("Gone.", reason="GUEST_NOT_FOUND"))
    reboot(cell, server.id, hard=True)
    after = cell.wait(server.id, idle)
    assert after.vm_state == VmState.VM_STATE_ERROR
    assert after.fault.code == 404
    stop(cell, server.id)
    cell.wait(server.id, lambda s: s.vm_state == STOPPED)


def test_a_host_known_to_be_down_is_not_waited_for(cell: Conductor):
    server = cell.boot()
    cell.hosts.UpdateComputeService(host_pb2.UpdateComputeServiceRequest(host="host1", forced_down=True))
    stop(cell, server.id)
    after = cell.wait(server.id, lambda s: idle(s) and s.HasField("fault"))
    assert "HOST_NOT_READY" in after.fault.details
    assert after.vm_state == ACTIVE


def test_an_agent_that_moved_is_found(cell: Conductor, edges: Edges):
    server = cell.boot()
    lost = errors.NotFound("Not here.", reason="HOST_NOT_SERVED")
    edges.guests.fail("StopGuest", lost)
    stop(cell, server.id)
    assert cell.wait(server.id, idle).vm_state == STOPPED


@pytest.mark.parametrize(("asked", "given"), [("7", 7), ("soon", 60), ("99999999", 3600)])
def test_an_image_may_say_how_long_its_guest_takes_to_shut_down(cell, edges, monkeypatch, asked, given):
    seen = []
    stop_guest = edges.guests.StopGuest
    monkeypatch.setattr(
        edges.guests, "_power", lambda request, state: seen.append(request) or _power(edges, request, state)
    )
    assert stop_guest
    server = cell.boot()
    cell.cell.db.write(
        lambda c: cell.cell.servers.change(
            c, server.id, lambda s: s.image.properties.update(os_shutdown_timeout=asked)
        )
    )
    stop(cell, server.id)
    cell.wait(server.id, lambda s: s.vm_state == STOPPED)
    assert [request.timeout_seconds for request in seen] == [given]


def _power(edges: Edges, request, state):
    guest = edges.guests.guests[request.host, request.server_id]
    guest.power_state = state
    return guest


def test_console_output(cell: Conductor, edges: Edges):
    server = cell.boot()
    request = server_pb2.GetConsoleOutputRequest(id=server.id)
    assert cell.servers.GetConsoleOutput(request).output == b"one\ntwo\nthree\n"
    request.length = 1
    assert cell.servers.GetConsoleOutput(request).output == b"three\n"
    edges.guests.fail("GetGuestConsoleOutput", errors.NotFound("Gone.", reason="GUEST_NOT_FOUND"))
    with pytest.raises(errors.NotFound) as caught:
        cell.servers.GetConsoleOutput(request, timeout=SECONDS)
    assert caught.value.reason == "CONSOLE_UNAVAILABLE"
    change(cell, server.id, host="")
    with pytest.raises(errors.FailedPrecondition) as refused:
        cell.servers.GetConsoleOutput(request)
    assert refused.value.reason == "HOST_NOT_READY"
