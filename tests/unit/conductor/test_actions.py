"""The action table against the reference: which states allow what."""

from __future__ import annotations

import itertools

import pytest

from protonova.common.v1.server_pb2 import LockHolder, PowerState, Server, TaskState, VmState
from protonova.services.conductor import actions
from protonova.services.runtime import errors
from protonova.services.runtime.context import RequestContext
from tests.support.action_rules import ALLOWED, IN_SPITE_OF_A_LOCK, allows

USER = RequestContext(user_id="user", project_id="project")
ADMIN = RequestContext(is_admin=True)


def a_server(**fields) -> Server:
    server = Server(id="id", host="host1", **fields)
    server.launched_at.seconds = 1
    return server


@pytest.mark.parametrize("name", ALLOWED)
def test_states(name: str):
    action = getattr(actions, name)
    for vm, task in itertools.product(VmState.keys(), TaskState.keys()):
        vm_state, task_state = vm.removeprefix("VM_STATE_"), task.removeprefix("TASK_STATE_")
        server = a_server(vm_state=vm, task_state=task)
        if allows(name, vm_state, task_state):
            actions.check(action, server, USER, lambda _: True)
            continue
        with pytest.raises(errors.FailedPrecondition) as caught:
            actions.check(action, server, USER, lambda _: True)
        assert caught.value.reason == "SERVER_STATE"
        # The vm_state is judged before the task_state.
        states = ALLOWED[name][0]
        vm_ok = states is None or vm_state in states
        assert caught.value.facts["attribute"] == ("task_state" if vm_ok else "vm_state")


@pytest.mark.parametrize("name", ALLOWED)
@pytest.mark.parametrize("holder", ["OWNER", "ADMIN"])
def test_locks(name: str, holder: str):
    action = getattr(actions, name)
    vm_states, task_states = ALLOWED[name]
    server = a_server(
        vm_state=f"VM_STATE_{min(vm_states or {'ACTIVE'})}",
        task_state=f"TASK_STATE_{min(task_states or {'UNSPECIFIED'})}",
        locked_by=f"LOCK_HOLDER_{holder}",
    )
    actions.check(action, server, ADMIN, lambda _: True)
    if name in IN_SPITE_OF_A_LOCK:
        actions.check(action, server, USER, lambda _: True)
        return
    # The lock is judged before anything else.
    server.task_state = TaskState.TASK_STATE_SPAWNING
    with pytest.raises(errors.FailedPrecondition) as caught:
        actions.check(action, server, USER)
    assert caught.value.reason == "SERVER_LOCKED"


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


@pytest.mark.parametrize(
    ("host", "up", "refused"), [("", False, False), ("a", False, True), ("a", True, False)]
)
def test_an_action_that_needs_its_host_if_there_is_one(host: str, up: bool, refused: bool):
    server = a_server(vm_state="VM_STATE_STOPPED")
    server.host = host
    if not refused:
        actions.check(actions.DETACH_VOLUME, server, USER, lambda _: up)
        return
    with pytest.raises(errors.FailedPrecondition) as caught:
        actions.check(actions.DETACH_VOLUME, server, USER, lambda _: up)
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


# action -> (as instance actions are called, what is under way, what becomes of the server, locked servers too)
BECOMES = {
    "SOFT_DELETE": ("delete", "SOFT_DELETING", "SOFT_DELETED", False),
    "RESTORE": ("restore", "RESTORING", "ACTIVE", False),
    "RESET_STATE": ("resetState", "UNSPECIFIED", None, True),
    "PAUSE": ("pause", "PAUSING", "PAUSED", False),
    "UNPAUSE": ("unpause", "UNPAUSING", "ACTIVE", False),
    "SUSPEND": ("suspend", "SUSPENDING", "SUSPENDED", False),
    "RESUME": ("resume", "RESUMING", "ACTIVE", False),
    "RESCUE": ("rescue", "RESCUING", "RESCUED", False),
    "UNRESCUE": ("unrescue", "UNRESCUING", "ACTIVE", False),
    "REBUILD": ("rebuild", "REBUILDING", "ACTIVE", False),
    "CHANGE_PASSWORD": ("changePassword", "UPDATING_PASSWORD", None, False),
    "CRASH_DUMP": ("trigger_crash_dump", "UNSPECIFIED", None, False),
    "READ_DIAGNOSTICS": ("diagnostics", "UNSPECIFIED", None, True),
    "INJECT_NETWORK": ("injectNetworkInfo", "UNSPECIFIED", None, False),
}


@pytest.mark.parametrize("name", BECOMES)
def test_what_becomes_of_a_server(name: str):
    called, doing, after, locked = BECOMES[name]
    action = getattr(actions, name)
    assert (action.name, action.locked) == (called, locked)
    assert action.doing == TaskState.Value(f"TASK_STATE_{doing}")
    assert action.after == (None if after is None else VmState.Value(f"VM_STATE_{after}"))


@pytest.mark.parametrize("name", ["RESET_STATE", "READ_DIAGNOSTICS", "INJECT_NETWORK"])
def test_what_needs_no_launch(name: str):
    server = a_server(vm_state="VM_STATE_BUILDING")
    server.ClearField("launched_at")
    actions.check(getattr(actions, name), server, ADMIN)


@pytest.mark.parametrize("name", ["CRASH_DUMP", "READ_DIAGNOSTICS"])
def test_what_needs_a_host(name: str):
    server = a_server(vm_state="VM_STATE_ACTIVE")
    server.host = ""
    with pytest.raises(errors.FailedPrecondition) as caught:
        actions.check(getattr(actions, name), server, ADMIN)
    assert caught.value.reason == "HOST_NOT_READY"


def test_locked_by_nobody_is_not_locked():
    server = a_server(vm_state="VM_STATE_STOPPED", locked_by=LockHolder.LOCK_HOLDER_UNSPECIFIED)
    actions.check(actions.START, server, USER)
