"""What can be done to a server that no cell has yet: it can be renamed and the like, and deleted; nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, select

from protonova.common.v1 import server_pb2
from protonova.common.v1.server_pb2 import Server, TaskState, VmState
from protonova.services.api import builds, mappings
from protonova.services.api.builds import Deletion
from protonova.services.runtime import context as contexts
from protonova.services.runtime import errors
from protonova.services.runtime.database import Database

_EDITABLE = frozenset(
    {
        "name",
        "description",
        "access_ip_v4",
        "access_ip_v6",
        "auto_disk_config",
        "hostname",
        "pinned_availability_zone",
        "locked_by",
        "locked_reason",
        "encrypted_password",
    }
)
_OPTIONAL = frozenset({"description", "pinned_availability_zone"})


class Building:
    def __init__(self, db: Database) -> None:
        self._db = db

    def update(self, server: Server, wanted: Server, fields: Iterable[str]) -> Server | None:
        """The server as changed; None when a cell has it meanwhile. Raises FIELD_INVALID, SERVER_STATE."""
        named = list(fields)
        for field in named:
            if field not in _EDITABLE:
                raise errors.InvalidArgument(
                    f"'{field}' of a server cannot be changed.", reason="FIELD_INVALID", field=field
                )

        def alter(current: Server) -> None:
            for field in named:
                if field in _OPTIONAL and not wanted.HasField(field):  # type: ignore[arg-type]
                    current.ClearField(field)  # type: ignore[arg-type]
                else:
                    setattr(current, field, getattr(wanted, field))

        def write(connection: Connection) -> Server | None:
            changed = builds.change(connection, server.id, alter, self._now(connection))
            if changed is not None:
                mappings.publish_builds(connection, [server.id])
            return changed

        return self._db.write(write)

    def delete(self, server: Server) -> Deletion:
        """Raises SERVER_LOCKED."""
        if server.locked_by and not contexts.current().is_admin:
            raise errors.FailedPrecondition(
                f"Instance {server.id} is locked.", reason="SERVER_LOCKED", server_id=server.id
            )
        return self._db.write(lambda connection: builds.end(connection, server.id, self._now(connection)))

    def _now(self, connection: Connection) -> int:
        return int(connection.execute(select(self._db.now())).scalar_one())


def refused(server: Server, action: str) -> errors.FailedPrecondition:
    """Why an action cannot be done to a build request."""
    attribute, value = "vm_state", _name(VmState.Name(server.vm_state))
    if server.task_state == server_pb2.TASK_STATE_DELETING:
        attribute, value = "task_state", _name(TaskState.Name(server.task_state))
    return errors.FailedPrecondition(
        f"Cannot '{action}' instance {server.id} while it is in {attribute} {value}",
        reason="SERVER_STATE",
        server_id=server.id,
        action=action,
        attribute=attribute,
        value=value,
    )


def _name(enum_name: str) -> str:
    """VM_STATE_ERROR → error."""
    return enum_name.split("_STATE_", 1)[1].lower()
