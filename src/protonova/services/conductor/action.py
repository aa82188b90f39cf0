"""One row of the action table, and what is asked of it: may this be done now, and what is the server afterwards."""

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
    # Up, where it has one.
    UP_IF_SET = "up if set"


class Shares(enum.Enum):
    """What an action has to say of a server with shares."""

    ALLOWED = "allowed"
    # Neither a guest's memory nor its place can change under a share.
    REFUSED = "refused"
    # The same, told as a request that could never be right.
    INVALID = "invalid"


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
    shares: Shares = Shares.ALLOWED
    # The kind of operation that does it; empty = called as the action is.
    kind: str = ""
    # What a refusal calls it; empty = as the action is called.
    word: str = ""

    @property
    def operation(self) -> str:
        return self.kind or self.name

    def owns(self, task_state: TaskState.ValueType) -> bool:
        """Whether a task state is one of this action's own."""
        return task_state != IDLE and (task_state == self.doing or task_state in self.passing)


def vm_states(*names: str) -> States:
    """`vm_states("active", "stopped")`."""
    return frozenset(VmState.Value(f"VM_STATE_{name.upper()}") for name in names)


def task_states(*names: str) -> States:
    """`task_states("rebooting", "")`; the empty name = nothing under way."""
    return frozenset(TaskState.Value(f"TASK_STATE_{name.upper()}") if name else IDLE for name in names)


def check(
    action: Action, server: Server, ctx: RequestContext, host_is_up: Callable[[str], bool] | None = None
) -> None:
    """Refuses what the table does not allow. Raises `errors.FailedPrecondition`: SERVER_LOCKED, SERVER_STATE
    (facts: server_id, action, attribute, value), SERVER_HAS_SHARES (`errors.InvalidArgument` where the row says so)
    or HOST_NOT_READY."""
    if not action.locked and server.locked_by != LockHolder.LOCK_HOLDER_UNSPECIFIED and not ctx.is_admin:
        raise errors.FailedPrecondition(
            f"Server {server.id} is locked.",
            reason="SERVER_LOCKED",
            server_id=server.id,
            action=_word(action),
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
    if action.shares is not Shares.ALLOWED and server.shares:
        raise _has_shares(action, server)
    if action.host in (Host.SET, Host.UP) and not server.host:
        raise _host_not_ready(server, "it has no host")
    needs_up = action.host is Host.UP or (action.host is Host.UP_IF_SET and bool(server.host))
    if needs_up and (host_is_up is None or not host_is_up(server.host)):
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
        f"Cannot '{_word(action)}' server {server.id} while its {attribute} is {value}.",
        reason="SERVER_STATE",
        server_id=server.id,
        action=_word(action),
        attribute=attribute,
        value=value,
    )


def _has_shares(action: Action, server: Server) -> errors.Error:
    kind = errors.InvalidArgument if action.shares is Shares.INVALID else errors.FailedPrecondition
    return kind(
        f"Cannot '{_word(action)}' server {server.id} while it has shares; detach them first.",
        reason="SERVER_HAS_SHARES",
        server_id=server.id,
        action=_word(action),
    )


def _word(action: Action) -> str:
    return action.word or action.name


def _host_not_ready(server: Server, why: str) -> errors.FailedPrecondition:
    return errors.FailedPrecondition(
        f"Server {server.id} is not ready: {why}.",
        reason="HOST_NOT_READY",
        server_id=server.id,
        host=server.host,
    )
