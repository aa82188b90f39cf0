"""Names of states, as users read them in a message about a state."""

from __future__ import annotations

from protonova.common.v1.server_pb2 import PowerState, TaskState, VmState

# Where users' names are not those of the contract.
_SPELLED = {
    VmState.VM_STATE_SOFT_DELETED: "soft-delete",
}
_TASK_SPELLED = {
    TaskState.TASK_STATE_POWERING_OFF: "powering-off",
    TaskState.TASK_STATE_POWERING_ON: "powering-on",
    TaskState.TASK_STATE_SOFT_DELETING: "soft-deleting",
}

IDLE = TaskState.TASK_STATE_UNSPECIFIED
# Power states of guests that are not off.
RUNS = frozenset({PowerState.POWER_STATE_RUNNING, PowerState.POWER_STATE_PAUSED})


def vm_state_name(state: VmState.ValueType) -> str:
    return _SPELLED.get(state) or _short(VmState.Name(state), "VM_STATE_")


def task_state_name(state: TaskState.ValueType) -> str:
    if state == IDLE:
        return "None"
    return _TASK_SPELLED.get(state) or _short(TaskState.Name(state), "TASK_STATE_")


def power_state_name(state: PowerState.ValueType) -> str:
    return _short(PowerState.Name(state), "POWER_STATE_")


def _short(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()
