"""What may be done to a server, when, and what becomes of it: one row an action.

`check` is asked inside the transaction that sets `doing` by compare-and-set, so of two requests that exclude each
other one wins and the other is refused by the same table.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from protonova.common.v1.server_pb2 import LockHolder, PowerState, Server, TaskState, VmState
from protonova.services.conductor.states import IDLE, task_state_name, vm_state_name
from protonova.services.runtime import errors
from protonova.services.runtime.context import RequestContext

States = frozenset[int]


class Host(enum.Enum):
    """What an action needs of the server's host before it begins."""

    ANY = "any"
    SET = "set"
    UP = "up"


@dataclass(frozen=True, slots=True)
class Action:
    # As instance actions are called.
    name: str
    # None = any. Without `task_states`, nothing else may be under way.
    vm_states: States | None = None
    task_states: States | None = frozenset({IDLE})
    # Only these task states forbid it, where `task_states` is None.
    task_states_refused: States = frozenset()
    # The task state while it runs, and all those it goes through; IDLE = none.
    doing: TaskState.ValueType = IDLE
    passing: States = frozenset()
    # The vm_state after; None = as before.
    after: VmState.ValueType | None = None
    # Allowed on a server that somebody locked.
    locked: bool = False
    # Only once it has been running.
    launched: bool = True
    host: Host = Host.ANY

    def owns(self, task_state: TaskState.ValueType) -> bool:
        """Whether a task state is one of this action's own."""
        return task_state != IDLE and (task_state == self.doing or task_state in self.passing)


def _vm(*names: str) -> States:
    return frozenset(VmState.Value(f"VM_STATE_{name.upper()}") for name in names)


def _task(*names: str) -> States:
    return frozenset(TaskState.Value(f"TASK_STATE_{name.upper()}") if name else IDLE for name in names)


START = Action(
    "start",
    vm_states=_vm("stopped"),
    doing=TaskState.TASK_STATE_POWERING_ON,
    after=VmState.VM_STATE_ACTIVE,
    host=Host.SET,
)
STOP = Action(
    "stop",
    vm_states=_vm("active", "error"),
    doing=TaskState.TASK_STATE_POWERING_OFF,
    after=VmState.VM_STATE_STOPPED,
    host=Host.SET,
)
REBOOT_SOFT = Action(
    "reboot",
    vm_states=_vm("active"),
    doing=TaskState.TASK_STATE_REBOOTING,
    passing=_task("reboot_pending", "reboot_started"),
    after=VmState.VM_STATE_ACTIVE,
    host=Host.SET,
)
REBOOT_HARD = Action(
    "reboot",
    vm_states=_vm("active", "error", "paused", "stopped", "suspended"),
    task_states=_task(
        "",
        "pausing",
        "reboot_pending",
        "reboot_started",
        "rebooting",
        "rebooting_hard",
        "resuming",
        "suspending",
        "unpausing",
    ),
    doing=TaskState.TASK_STATE_REBOOTING_HARD,
    passing=_task("reboot_pending_hard", "reboot_started_hard"),
    after=VmState.VM_STATE_ACTIVE,
    host=Host.SET,
)
DELETE = Action(
    "delete",
    task_states=None,
    doing=TaskState.TASK_STATE_DELETING,
    after=VmState.VM_STATE_DELETED,
    launched=False,
)
CREATE = Action(
    "create",
    vm_states=_vm("building"),
    doing=TaskState.TASK_STATE_SCHEDULING,
    passing=_task("networking", "block_device_mapping", "spawning"),
    after=VmState.VM_STATE_ACTIVE,
    launched=False,
)
CHANGE_METADATA = Action(
    "updateMetadata", vm_states=_vm("active", "paused", "stopped", "suspended"), task_states=None
)
CHANGE_TAGS = Action(
    "updateTags",
    vm_states=_vm("active", "paused", "stopped", "suspended"),
    task_states=None,
    locked=True,
    launched=False,
)
READ_CONSOLE = Action("getConsoleOutput", task_states=None, locked=True, launched=False, host=Host.SET)


def check(
    action: Action, server: Server, ctx: RequestContext, host_is_up: Callable[[str], bool] | None = None
) -> None:
    """Refuses what the table does not allow. Raises `errors.FailedPrecondition`: SERVER_LOCKED, SERVER_STATE
    (facts: server_id, action, attribute, value) or HOST_NOT_READY."""
    if not action.locked and server.locked_by != LockHolder.LOCK_HOLDER_UNSPECIFIED and not ctx.is_admin:
        raise errors.FailedPrecondition(
            f"Server {server.id} is locked.", reason="SERVER_LOCKED", server_id=server.id, action=action.name
        )
    if action.vm_states is not None and server.vm_state not in action.vm_states:
        raise _wrong_state(action, server, "vm_state", vm_state_name(server.vm_state))
    task_allowed = (
        server.task_state in action.task_states
        if action.task_states is not None
        else server.task_state not in action.task_states_refused
    )
    if not task_allowed:
        raise _wrong_state(action, server, "task_state", task_state_name(server.task_state))
    if action.launched and not server.HasField("launched_at"):
        raise _wrong_state(action, server, "launched_at", "None")
    if action.host is not Host.ANY and not server.host:
        raise _host_not_ready(server, "it has no host")
    if action.host is Host.UP and (host_is_up is None or not host_is_up(server.host)):
        raise _host_not_ready(server, f"its host {server.host} is down")


def settle(
    action: Action,
    server: Server,
    *,
    vm_state: VmState.ValueType | None = None,
    power_state: PowerState.ValueType | None = None,
) -> None:
    """Ends an action in the server's record. A task state that belongs to a later action stays."""
    if action.owns(server.task_state):
        server.task_state = IDLE
    if vm_state is not None:
        server.vm_state = vm_state
    if power_state is not None:
        server.power_state = power_state


def task_states_of(actions: Iterable[Action]) -> States:
    """Every task state that some of the actions set."""
    return frozenset(
        state for action in actions for state in {action.doing, *action.passing} if state != IDLE
    )


def _wrong_state(action: Action, server: Server, attribute: str, value: str) -> errors.FailedPrecondition:
    return errors.FailedPrecondition(
        f"Cannot '{action.name}' server {server.id} while its {attribute} is {value}.",
        reason="SERVER_STATE",
        server_id=server.id,
        action=action.name,
        attribute=attribute,
        value=value,
    )


def _host_not_ready(server: Server, why: str) -> errors.FailedPrecondition:
    return errors.FailedPrecondition(
        f"Server {server.id} is not ready: {why}.",
        reason="HOST_NOT_READY",
        server_id=server.id,
        host=server.host,
    )
