"""What is not allowed is refused, whoever asks for it, and changes nothing: every action in every state."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from protonova.common.v1.migration_pb2 import MigrationType
from protonova.common.v1.server_pb2 import VmState
from protonova.conductor.v1 import migration_pb2, server_image_pb2, server_pb2
from protonova.services.runtime import errors
from tests.support.action_rules import IN_SPITE_OF_A_LOCK, allows
from tests.support.conductor import Conductor, as_user, new_server

# Nothing under way, and something that no action of these allows beside it.
TASKS = ("UNSPECIFIED", "SPAWNING")
Call = Callable[[Conductor, str], Any]


def _move(kind: MigrationType.ValueType) -> Call:
    return lambda cell, id_: cell.migrations.MoveServer(
        migration_pb2.MoveServerRequest(server_id=id_, migration_id=str(uuid.uuid4()), type=kind)
    )


CALLS: dict[str, Call] = {
    "START": lambda cell, id_: cell.servers.StartServer(server_pb2.StartServerRequest(id=id_)),
    "STOP": lambda cell, id_: cell.servers.StopServer(server_pb2.StopServerRequest(id=id_)),
    "REBOOT_SOFT": lambda cell, id_: cell.servers.RebootServer(server_pb2.RebootServerRequest(id=id_)),
    "REBOOT_HARD": lambda cell, id_: cell.servers.RebootServer(
        server_pb2.RebootServerRequest(id=id_, hard=True)
    ),
    "RESTORE": lambda cell, id_: cell.servers.RestoreServer(server_pb2.RestoreServerRequest(id=id_)),
    "PAUSE": lambda cell, id_: cell.servers.PauseServer(server_pb2.PauseServerRequest(id=id_)),
    "UNPAUSE": lambda cell, id_: cell.servers.UnpauseServer(server_pb2.UnpauseServerRequest(id=id_)),
    "SUSPEND": lambda cell, id_: cell.servers.SuspendServer(server_pb2.SuspendServerRequest(id=id_)),
    "RESUME": lambda cell, id_: cell.servers.ResumeServer(server_pb2.ResumeServerRequest(id=id_)),
    "RESCUE": lambda cell, id_: cell.servers.RescueServer(server_pb2.RescueServerRequest(id=id_)),
    "UNRESCUE": lambda cell, id_: cell.servers.UnrescueServer(server_pb2.UnrescueServerRequest(id=id_)),
    "REBUILD": lambda cell, id_: cell.servers.RebuildServer(server_pb2.RebuildServerRequest(id=id_)),
    "CHANGE_PASSWORD": lambda cell, id_: cell.servers.ChangeServerPassword(
        server_pb2.ChangeServerPasswordRequest(id=id_, admin_password="p")
    ),
    "CRASH_DUMP": lambda cell, id_: cell.servers.TriggerCrashDump(server_pb2.TriggerCrashDumpRequest(id=id_)),
    "CREATE_IMAGE": lambda cell, id_: cell.images.CreateServerImage(
        server_image_pb2.CreateServerImageRequest(id=id_, name="i")
    ),
    "CREATE_BACKUP": lambda cell, id_: cell.images.CreateServerBackup(
        server_image_pb2.CreateServerBackupRequest(id=id_, name="i", backup_type="t", rotation=1)
    ),
    "SHELVE": lambda cell, id_: cell.images.ShelveServer(server_image_pb2.ShelveServerRequest(id=id_)),
    "OFFLOAD": lambda cell, id_: cell.images.OffloadServer(server_image_pb2.OffloadServerRequest(id=id_)),
    "UNSHELVE": lambda cell, id_: cell.images.UnshelveServer(server_image_pb2.UnshelveServerRequest(id=id_)),
    "RESIZE": _move(MigrationType.MIGRATION_TYPE_RESIZE),
    "MIGRATE": _move(MigrationType.MIGRATION_TYPE_MIGRATION),
    "CONFIRM_RESIZE": lambda cell, id_: cell.migrations.ConfirmResize(
        migration_pb2.ConfirmResizeRequest(server_id=id_)
    ),
    "REVERT_RESIZE": lambda cell, id_: cell.migrations.RevertResize(
        migration_pb2.RevertResizeRequest(server_id=id_)
    ),
    "LIVE_MIGRATE": lambda cell, id_: cell.migrations.LiveMigrateServer(
        migration_pb2.LiveMigrateServerRequest(server_id=id_, migration_id=str(uuid.uuid4()))
    ),
    "CHANGE_METADATA": lambda cell, id_: cell.servers.UpdateServerMetadata(
        server_pb2.UpdateServerMetadataRequest(id=id_, metadata={"a": "b"})
    ),
    "CHANGE_TAGS": lambda cell, id_: cell.servers.UpdateServerTags(
        server_pb2.UpdateServerTagsRequest(id=id_, add=["a"])
    ),
}


@pytest.mark.parametrize("vm_state", [name.removeprefix("VM_STATE_") for name in VmState.keys()[1:]])
def test_what_a_state_does_not_allow(cell: Conductor, vm_state: str):
    if vm_state == "DELETED":
        return
    for task_state, locked, admin in itertools.product(TASKS, (False, True), (False, True)):
        server = new_server(
            host="host1",
            node="host1",
            vm_state=f"VM_STATE_{vm_state}",
            task_state=f"TASK_STATE_{task_state}",
            locked_by="LOCK_HOLDER_OWNER" if locked else "LOCK_HOLDER_UNSPECIFIED",
        )
        server.launched_at.seconds = 1
        cell.store(server)
        before = cell.get(server.id)
        for action, call in CALLS.items():
            kept_out = locked and not admin and action not in IN_SPITE_OF_A_LOCK
            if allows(action, vm_state, task_state) and not kept_out:
                continue
            with as_user(is_admin=admin), pytest.raises(errors.FailedPrecondition) as caught:
                call(cell, server.id)
            expected = "SERVER_LOCKED" if kept_out else "SERVER_STATE"
            assert caught.value.reason == expected, (action, vm_state, task_state, locked, admin)
        assert cell.get(server.id) == before
    assert not cell.engine.list()
