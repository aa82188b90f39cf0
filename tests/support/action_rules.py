"""Which states allow what to be done to a server, in words: by the names of the conductor's table of actions."""

from __future__ import annotations

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
IDLE = {"UNSPECIFIED"}
STEADY = {"ACTIVE", "PAUSED", "STOPPED", "SUSPENDED"}
ATTACHABLE = {"ACTIVE", "PAUSED", "RESIZED", "SHELVED", "SHELVED_OFFLOADED", "SOFT_DELETED", "STOPPED"}
PLUGGABLE = {"ACTIVE", "PAUSED", "STOPPED"}
# action -> (vm_states, task_states), None = any
ALLOWED: dict[str, tuple[set[str] | None, set[str] | None]] = {
    "START": ({"STOPPED"}, IDLE),
    "STOP": ({"ACTIVE", "ERROR"}, IDLE),
    "REBOOT_SOFT": ({"ACTIVE"}, IDLE),
    "REBOOT_HARD": ({"ACTIVE", "ERROR", "PAUSED", "STOPPED", "SUSPENDED"}, HARD_REBOOT_TASKS),
    "DELETE": (None, None),
    "SOFT_DELETE": (None, None),
    "RESTORE": ({"SOFT_DELETED"}, IDLE),
    "RESET_STATE": (None, None),
    "PAUSE": ({"ACTIVE"}, IDLE),
    "UNPAUSE": ({"PAUSED"}, IDLE),
    "SUSPEND": ({"ACTIVE"}, IDLE),
    "RESUME": ({"SUSPENDED"}, IDLE),
    "RESCUE": ({"ACTIVE", "ERROR", "STOPPED"}, IDLE),
    "UNRESCUE": ({"RESCUED"}, IDLE),
    "REBUILD": ({"ACTIVE", "ERROR", "STOPPED"}, IDLE),
    "CHANGE_PASSWORD": ({"ACTIVE"}, IDLE),
    "CRASH_DUMP": ({"ACTIVE", "ERROR", "PAUSED", "RESCUED", "RESIZED"}, IDLE),
    "READ_CONSOLE": (None, None),
    "READ_DIAGNOSTICS": (None, None),
    "CREATE_IMAGE": (STEADY, IDLE),
    "CREATE_VOLUME_IMAGE": (STEADY, IDLE),
    "CREATE_BACKUP": (STEADY, IDLE),
    "SHELVE": (STEADY, IDLE),
    "OFFLOAD": ({"SHELVED"}, IDLE),
    "UNSHELVE": ({"SHELVED", "SHELVED_OFFLOADED"}, IDLE),
    "RESIZE": ({"ACTIVE", "STOPPED"}, IDLE),
    "MIGRATE": ({"ACTIVE", "STOPPED"}, IDLE),
    "CONFIRM_RESIZE": ({"RESIZED"}, IDLE),
    "REVERT_RESIZE": ({"RESIZED"}, IDLE),
    "LIVE_MIGRATE": ({"ACTIVE", "PAUSED"}, IDLE),
    "FORCE_COMPLETE": ({"ACTIVE"}, {"MIGRATING"}),
    "ABORT_MIGRATION": (None, {"MIGRATING"}),
    "EVACUATE": ({"ACTIVE", "ERROR", "STOPPED"}, None),
    "ATTACH_VOLUME": (ATTACHABLE, IDLE),
    "DETACH_VOLUME": (ATTACHABLE, IDLE),
    "SWAP_VOLUME": ({"ACTIVE", "PAUSED", "RESIZED"}, IDLE),
    "ATTACH_SHARE": ({"STOPPED"}, IDLE),
    "DETACH_SHARE": ({"ERROR", "STOPPED"}, IDLE),
    "ATTACH_INTERFACE": (PLUGGABLE, IDLE),
    "DETACH_INTERFACE": (PLUGGABLE, IDLE),
    "CHANGE_FIXED_ADDRESSES": (None, None),
    "CHANGE_ADDRESSES": (None, None),
    "INJECT_NETWORK": (None, None),
    "CHANGE_METADATA": (STEADY, None),
    "CHANGE_TAGS": (STEADY, None),
}
# What a server that somebody locked may be asked for by anybody all the same.
IN_SPITE_OF_A_LOCK = {
    "ATTACH_SHARE",
    "CHANGE_ADDRESSES",
    "CHANGE_TAGS",
    "CREATE_BACKUP",
    "CREATE_IMAGE",
    "CREATE_VOLUME_IMAGE",
    "DETACH_SHARE",
    "EVACUATE",
    "READ_CONSOLE",
    "READ_DIAGNOSTICS",
    "RESET_STATE",
}


def allows(action: str, vm_state: str, task_state: str) -> bool:
    vm_states, task_states = ALLOWED[action]
    return (vm_states is None or vm_state in vm_states) and (task_states is None or task_state in task_states)
