"""The action table against the reference: which states allow what."""

from __future__ import annotations

import itertools

import pytest

from protonova.common.v1.server_pb2 import LockHolder, PowerState, Server, TaskState, VmState
from protonova.services.conductor import actions
from protonova.services.runtime import errors
from protonova.services.runtime.context import RequestContext

USER = RequestContext(user_id="user", project_id="project")
ADMIN = RequestContext(is_admin=True)
HARD_REBOOT_TASKS = {
    "UNSPECIFIED",
    "PAUSING",
    "REBOOT_PENDING",
    "REBOOT_STARTED",
    "REBOOTING",
    "REBOOTING_HARD",
    "RESUMING",
    "SUSPENDING",
    "UNPAUSING",
}
# action -> (vm_states, task_states), None = any
ALLOWED = {
    "START": ({"STOPPED"}, {"UNSPECIFIED"}),
    "STOP": ({"ACTIVE", "ERROR"}, {"UNSPECIFIED"}),
    "REBOOT_SOFT": ({"ACTIVE"}, {"UNSPECIFIED"}),
    "REBOOT_HARD": ({"ACTIVE", "ERROR", "PAUSED", "STOPPED", "SUSPENDED"}, HARD_REBOOT_TASKS),
    "DELETE": (None, None),
    "CHANGE_METADATA": ({"ACTIVE", "PAUSED", "STOPPED", "SUSPENDED"}, None),
    "CHANGE_TAGS": ({"ACTIVE", "PAUSED", "STOPPED", "SUSPENDED"}, None),
}


def a_server(**fields) -> Server:
    server = Server(id="id", host="host1", **fields)
    server.launched_at.seconds = 1
    return server


@pytest.mark.parametrize("name", ALLOWED)
def test_states(name: str):
    vm_states, task_states = ALLOWED[name]
    action = getattr(actions, name)
    for vm, task in itertools.product(VmState.keys(), TaskState.keys()):
        vm_ok = vm_states is None or vm.removeprefix("VM_STATE_") in vm_states
        task_ok = task_states is None or task.removeprefix("TASK_STATE_") in task_states
        server = a_server(vm_state=vm, task_state=task)
        if vm_ok and task_ok:
            actions.check(action, server, USER)
            continue
        with pytest.raises(errors.FailedPrecondition) as caught:
            actions.check(action, server, USER)
        assert caught.value.reason == "SERVER_STATE"
        # The vm_state is judged before the task_state.
        assert caught.value.facts["attribute"] == ("task_state" if vm_ok else "vm_state")


@pytest.mark.parametrize("name", ALLOWED)
@pytest.mark.parametrize("holder", ["OWNER", "ADMIN"])
def test_locks(name: str, holder: str):
    action = getattr(actions, name)
    server = a_server(vm_state="VM_STATE_UNSPECIFIED", locked_by=f"LOCK_HOLDER_{holder}")
    if action.locked:
        return
    with pytest.raises(errors.FailedPrecondition) as caught:
        actions.check(action, server, USER)
    assert caught.value.reason == "SERVER_LOCKED"
    server.vm_state = next(iter(action.vm_states or {VmState.VM_STATE_ACTIVE}))
    actions.check(action, server, ADMIN)


@pytest.mark.parametrize(
    ("host", "up", "refused"), [("", True, True), ("a", False, True), ("a", True, False)]
)
def test_an_action_that_needs_a_living_host(host: str, up: bool, refused: bool):
    action = actions.Action("resize", host=actions.Host.UP)
    server = a_server()
    server.host = host
    if not refused:
        actions.check(action, server, USER, lambda _: up)
        return
    with pytest.raises(errors.FailedPrecondition) as caught:
        actions.check(action, server, USER, lambda _: up)
    assert caught.value.reason == "HOST_NOT_READY"


def test_refused_task_states():
    action = actions.Action(
        "getVNCConsole",
        task_states=None,
        task_states_refused=frozenset({TaskState.TASK_STATE_DELETING}),
        launched=False,
    )
    actions.check(action, a_server(task_state="TASK_STATE_SPAWNING"), USER)
    with pytest.raises(errors.FailedPrecondition):
        actions.check(action, a_server(task_state="TASK_STATE_DELETING"), USER)


def test_settling_ends_only_its_own_task_state():
    server = a_server(task_state="TASK_STATE_REBOOTING_HARD", vm_state="VM_STATE_ACTIVE")
    actions.settle(actions.REBOOT_SOFT, server, power_state=PowerState.POWER_STATE_RUNNING)
    assert server.task_state == TaskState.TASK_STATE_REBOOTING_HARD
    actions.settle(actions.REBOOT_HARD, server, vm_state=VmState.VM_STATE_ACTIVE)
    assert server.task_state == TaskState.TASK_STATE_UNSPECIFIED


def test_locked_by_nobody_is_not_locked():
    server = a_server(vm_state="VM_STATE_STOPPED", locked_by=LockHolder.LOCK_HOLDER_UNSPECIFIED)
    actions.check(actions.START, server, USER)
