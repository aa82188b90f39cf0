"""How states of servers are called: names of vm_state and task_state, and the status users see."""

from __future__ import annotations

from collections.abc import Mapping

from protonova.common.v1 import server_pb2 as pb

_SPELLED = {
    "soft_deleted": "soft-delete",
    "powering_off": "powering-off",
    "powering_on": "powering-on",
    "soft_deleting": "soft-deleting",
}


def _names(enum: Mapping[str, int], prefix: str) -> dict[int, str]:
    names = {}
    for name, number in enum.items():
        bare = name.removeprefix(prefix).lower()
        if number:
            names[number] = _SPELLED.get(bare, bare)
    return names


VM_STATES = _names(dict(pb.VmState.items()), "VM_STATE_")
TASK_STATES = _names(dict(pb.TaskState.items()), "TASK_STATE_")
VM_NUMBERS = {name: number for number, name in VM_STATES.items()}
TASK_NUMBERS = {name: number for number, name in TASK_STATES.items()}

# The numbers the API has for power states.
POWER_STATES = {
    pb.POWER_STATE_UNSPECIFIED: 0,
    pb.POWER_STATE_RUNNING: 1,
    pb.POWER_STATE_PAUSED: 3,
    pb.POWER_STATE_SHUTDOWN: 4,
    pb.POWER_STATE_CRASHED: 6,
    pb.POWER_STATE_SUSPENDED: 7,
}
HOST_STATUSES = {
    pb.HOST_STATUS_UNSPECIFIED: "",
    pb.HOST_STATUS_UP: "UP",
    pb.HOST_STATUS_UNKNOWN: "UNKNOWN",
    pb.HOST_STATUS_DOWN: "DOWN",
    pb.HOST_STATUS_MAINTENANCE: "MAINTENANCE",
}

Row = dict[str | None, str]


def _shown_as(status: str, *task_states: str) -> Row:
    return dict.fromkeys(task_states, status)


_REBUILD = _shown_as("REBUILD", "rebuilding", "rebuild_block_device_mapping", "rebuild_spawning")
_RESIZE = _shown_as("RESIZE", "resize_prep", "resize_migrating", "resize_migrated", "resize_finish")
# vm_state → task_state → status; None is any other task_state.
STATUSES: dict[str, Row] = {
    "active": {
        None: "ACTIVE",
        **_shown_as("REBOOT", "rebooting", "reboot_pending", "reboot_started"),
        **_shown_as("HARD_REBOOT", "rebooting_hard", "reboot_pending_hard", "reboot_started_hard"),
        "updating_password": "PASSWORD",
        **_REBUILD,
        "migrating": "MIGRATING",
        **_RESIZE,
    },
    "building": {None: "BUILD"},
    "stopped": {None: "SHUTOFF", **_RESIZE, **_REBUILD},
    "resized": {None: "VERIFY_RESIZE", "resize_reverting": "REVERT_RESIZE"},
    "paused": {None: "PAUSED", "migrating": "MIGRATING"},
    "suspended": {None: "SUSPENDED"},
    "rescued": {None: "RESCUE"},
    "error": {None: "ERROR", **_REBUILD},
    "deleted": {None: "DELETED"},
    "soft-delete": {None: "SOFT_DELETED"},
    "shelved": {None: "SHELVED"},
    "shelved_offloaded": {None: "SHELVED_OFFLOADED"},
}
ALL_STATUSES = sorted({status for row in STATUSES.values() for status in row.values()} | {"UNKNOWN"})

_BY_NUMBERS: dict[tuple[int, int], str] = {
    (vm, task): STATUSES[VM_STATES[vm]].get(TASK_STATES.get(task), STATUSES[VM_STATES[vm]][None])
    for vm in VM_STATES
    for task in (0, *TASK_STATES)
}


def status_of(server: pb.Server) -> str:
    """The status of a server as users see it."""
    if server.HasField("deleted_at"):
        return "DELETED"
    if server.partial:
        return "UNKNOWN"
    return _BY_NUMBERS.get((server.vm_state, server.task_state), "UNKNOWN")


def states_of(status: str) -> tuple[set[str], set[str]]:
    """The vm_states and task_states that show as a status; task_states stay open for a state's usual one."""
    wanted = status.upper()
    vm_states: set[str] = set()
    task_states: set[str] = set()
    usual = False
    for vm_state, row in STATUSES.items():
        for task_state, shown in row.items():
            if shown == wanted:
                vm_states.add(vm_state)
                if task_state is None:
                    usual = True
                else:
                    task_states.add(task_state)
    return vm_states, set() if usual else task_states
