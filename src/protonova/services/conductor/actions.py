"""What may be done to a server, when, and what becomes of it: one row an action.

`check` is asked inside the transaction that sets `doing` by compare-and-set, so of two requests that exclude each
other one wins and the other is refused by the same table.
"""

from __future__ import annotations

from protonova.common.v1.server_pb2 import TaskState, VmState
from protonova.services.conductor.action import Action, Host, Shares, check, settle, task_states_of
from protonova.services.conductor.action import task_states as task
from protonova.services.conductor.action import vm_states as vm

__all__ = ["Action", "Host", "Shares", "check", "settle", "task_states_of"]

_STEADY = vm("active", "paused", "stopped", "suspended")
_VOLUME_ATTACHABLE = vm(
    "active", "paused", "resized", "shelved", "shelved_offloaded", "soft_deleted", "stopped"
)
_MOVING = task("resize_migrating", "resize_migrated", "resize_finish")
_REBUILDING = task("rebuild_block_device_mapping", "rebuild_spawning")

# ---- its whole life

CREATE = Action(
    "create",
    vm_states=vm("building"),
    doing=TaskState.TASK_STATE_SCHEDULING,
    passing=task("networking", "block_device_mapping", "spawning"),
    after=VmState.VM_STATE_ACTIVE,
    launched=False,
)
DELETE = Action(
    "delete",
    task_states=None,
    doing=TaskState.TASK_STATE_DELETING,
    after=VmState.VM_STATE_DELETED,
    launched=False,
)
SOFT_DELETE = Action(
    "delete",
    kind="soft_delete",
    task_states=None,
    doing=TaskState.TASK_STATE_SOFT_DELETING,
    after=VmState.VM_STATE_SOFT_DELETED,
)
RESTORE = Action(
    "restore",
    vm_states=vm("soft_deleted"),
    doing=TaskState.TASK_STATE_RESTORING,
    after=VmState.VM_STATE_ACTIVE,
)
RESET_STATE = Action("resetState", task_states=None, locked=True, launched=False)

# ---- power

START = Action(
    "start",
    vm_states=vm("stopped"),
    doing=TaskState.TASK_STATE_POWERING_ON,
    after=VmState.VM_STATE_ACTIVE,
    host=Host.SET,
)
STOP = Action(
    "stop",
    vm_states=vm("active", "error"),
    doing=TaskState.TASK_STATE_POWERING_OFF,
    after=VmState.VM_STATE_STOPPED,
    host=Host.SET,
)
REBOOT_SOFT = Action(
    "reboot",
    vm_states=vm("active"),
    doing=TaskState.TASK_STATE_REBOOTING,
    passing=task("reboot_pending", "reboot_started"),
    after=VmState.VM_STATE_ACTIVE,
    host=Host.SET,
)
REBOOT_HARD = Action(
    "reboot",
    vm_states=vm("active", "error", "paused", "stopped", "suspended"),
    task_states=task(
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
    passing=task("reboot_pending_hard", "reboot_started_hard"),
    after=VmState.VM_STATE_ACTIVE,
    host=Host.SET,
)
PAUSE = Action(
    "pause", vm_states=vm("active"), doing=TaskState.TASK_STATE_PAUSING, after=VmState.VM_STATE_PAUSED
)
UNPAUSE = Action(
    "unpause", vm_states=vm("paused"), doing=TaskState.TASK_STATE_UNPAUSING, after=VmState.VM_STATE_ACTIVE
)
SUSPEND = Action(
    "suspend",
    vm_states=vm("active"),
    doing=TaskState.TASK_STATE_SUSPENDING,
    after=VmState.VM_STATE_SUSPENDED,
    shares=Shares.REFUSED,
)
RESUME = Action(
    "resume", vm_states=vm("suspended"), doing=TaskState.TASK_STATE_RESUMING, after=VmState.VM_STATE_ACTIVE
)

# ---- what runs in it

RESCUE = Action(
    "rescue",
    vm_states=vm("active", "error", "stopped"),
    doing=TaskState.TASK_STATE_RESCUING,
    after=VmState.VM_STATE_RESCUED,
)
UNRESCUE = Action(
    "unrescue",
    vm_states=vm("rescued"),
    doing=TaskState.TASK_STATE_UNRESCUING,
    after=VmState.VM_STATE_ACTIVE,
)
REBUILD = Action(
    "rebuild",
    vm_states=vm("active", "error", "stopped"),
    doing=TaskState.TASK_STATE_REBUILDING,
    passing=_REBUILDING,
    after=VmState.VM_STATE_ACTIVE,
    shares=Shares.INVALID,
)
CHANGE_PASSWORD = Action(
    "changePassword", vm_states=vm("active"), doing=TaskState.TASK_STATE_UPDATING_PASSWORD
)
CRASH_DUMP = Action(
    "trigger_crash_dump",
    vm_states=vm("active", "error", "paused", "rescued", "resized"),
    host=Host.SET,
)
READ_CONSOLE = Action("getConsoleOutput", task_states=None, locked=True, launched=False, host=Host.SET)
OPEN_CONSOLE = Action(
    "getConsole",
    task_states=None,
    task_states_refused=task("deleting", "migrating"),
    locked=True,
    launched=False,
    host=Host.SET,
)
READ_DIAGNOSTICS = Action("diagnostics", task_states=None, locked=True, launched=False, host=Host.SET)

# ---- its image

CREATE_IMAGE = Action(
    "createImage",
    vm_states=_STEADY,
    doing=TaskState.TASK_STATE_IMAGE_SNAPSHOT_PENDING,
    passing=task("image_snapshot", "image_pending_upload", "image_uploading"),
    locked=True,
)
CREATE_VOLUME_IMAGE = Action("createImage", kind="volume_image", vm_states=_STEADY, locked=True)
CREATE_BACKUP = Action(
    "createBackup",
    vm_states=_STEADY,
    doing=TaskState.TASK_STATE_IMAGE_BACKUP,
    passing=task("image_pending_upload", "image_uploading"),
    locked=True,
)
SHELVE = Action(
    "shelve",
    vm_states=_STEADY,
    doing=TaskState.TASK_STATE_SHELVING,
    passing=task("shelving_image_pending_upload", "shelving_image_uploading", "shelving_offloading"),
    after=VmState.VM_STATE_SHELVED,
    shares=Shares.REFUSED,
)
OFFLOAD = Action(
    "shelveOffload",
    vm_states=vm("shelved"),
    doing=TaskState.TASK_STATE_SHELVING_OFFLOADING,
    after=VmState.VM_STATE_SHELVED_OFFLOADED,
)
UNSHELVE = Action(
    "unshelve",
    vm_states=vm("shelved", "shelved_offloaded"),
    doing=TaskState.TASK_STATE_UNSHELVING,
    passing=task("powering_on", "spawning"),
    after=VmState.VM_STATE_ACTIVE,
)

# ---- moves

RESIZE = Action(
    "resize",
    vm_states=vm("active", "stopped"),
    doing=TaskState.TASK_STATE_RESIZE_PREP,
    passing=_MOVING,
    after=VmState.VM_STATE_RESIZED,
    host=Host.UP,
    shares=Shares.REFUSED,
)
MIGRATE = Action(
    "migrate",
    kind="resize",
    vm_states=vm("active", "stopped"),
    doing=TaskState.TASK_STATE_RESIZE_PREP,
    passing=_MOVING,
    after=VmState.VM_STATE_RESIZED,
    host=Host.UP,
    shares=Shares.REFUSED,
)
CONFIRM_RESIZE = Action("confirmResize", vm_states=vm("resized"), after=VmState.VM_STATE_ACTIVE)
REVERT_RESIZE = Action(
    "revertResize",
    vm_states=vm("resized"),
    doing=TaskState.TASK_STATE_RESIZE_REVERTING,
    after=VmState.VM_STATE_ACTIVE,
)
LIVE_MIGRATE = Action(
    "live-migration",
    word="os-migrateLive",
    vm_states=vm("active", "paused"),
    doing=TaskState.TASK_STATE_MIGRATING,
    shares=Shares.REFUSED,
)
FORCE_COMPLETE = Action(
    "live_migration_force_complete", vm_states=vm("active"), task_states=task("migrating")
)
ABORT_MIGRATION = Action("live_migration_cancel", task_states=task("migrating"))
EVACUATE = Action(
    "evacuate",
    vm_states=vm("active", "error", "stopped"),
    task_states=None,
    doing=TaskState.TASK_STATE_REBUILDING,
    passing=_REBUILDING,
    locked=True,
    shares=Shares.REFUSED,
)

# ---- its devices

ATTACH_INTERFACE = Action("attach_interface", vm_states=vm("active", "paused", "stopped"))
DETACH_INTERFACE = Action("detach_interface", vm_states=vm("active", "paused", "stopped"))
# The port was deleted where it came from: whatever the server is, it has the interface no more.
DROP_INTERFACE = Action("", kind="detach_interface", task_states=None, locked=True, launched=False)
ATTACH_VOLUME = Action("attach_volume", vm_states=_VOLUME_ATTACHABLE)
DETACH_VOLUME = Action("detach_volume", vm_states=_VOLUME_ATTACHABLE, host=Host.UP_IF_SET)
SWAP_VOLUME = Action("swap_volume", vm_states=vm("active", "paused", "resized"))
UPDATE_ATTACHMENT = Action("updateVolumeAttachment", task_states=None, launched=False)
SNAPSHOT_VOLUME = Action(
    "", kind="snapshot_volume", word="volume_snapshot_create", vm_states=vm("active", "paused"), locked=True
)
MERGE_VOLUME = Action(
    "", kind="merge_volume", word="volume_snapshot_delete", vm_states=vm("active", "paused"), locked=True
)
EXTEND_VOLUME = Action("extend_volume", task_states=None, locked=True, launched=False, host=Host.SET)
# Only while the guest is off.
ATTACH_SHARE = Action("attach_share", vm_states=vm("stopped"), locked=True, host=Host.UP)
DETACH_SHARE = Action(
    "detach_share", vm_states=vm("error", "stopped"), locked=True, launched=False, host=Host.UP_IF_SET
)
CHANGE_FIXED_ADDRESSES = Action(
    "", kind="change_addresses", word="changeFixedAddresses", task_states=None, launched=False
)
# Groups, floating addresses, and what the network service tells of them: no lock stands against these.
CHANGE_ADDRESSES = Action(
    "", kind="change_addresses", word="changeAddresses", task_states=None, locked=True, launched=False
)
REFRESH_NETWORK = Action("", kind="refresh_network", task_states=None, locked=True, launched=False)
INJECT_NETWORK = Action("injectNetworkInfo", task_states=None, launched=False)

# ---- its record

CHANGE_METADATA = Action("updateMetadata", vm_states=_STEADY, task_states=None)
CHANGE_TAGS = Action("updateTags", vm_states=_STEADY, task_states=None, locked=True, launched=False)
