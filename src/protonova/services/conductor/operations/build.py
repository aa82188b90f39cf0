"""What the steps of a build know beside the server: the request, kept in `builds` until the build is over.

Actions that carry a secret or files keep them the same way, until they are over."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.common.v1.resources_pb2 import Destination
from protonova.common.v1.server_pb2 import BlockDeviceDestination, Server, TaskState
from protonova.conductor.v1.server_pb2 import ServerBuild
from protonova.services.conductor.tables import builds
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Run

_BY_SERVER = sa.select(builds.c.build).where(builds.c.server_id == sa.bindparam("server_id"))
_FORGET = sa.delete(builds).where(builds.c.server_id == sa.bindparam("server_id"))


def keep(connection: Connection, requests: Sequence[ServerBuild]) -> None:
    """Keeps requests, without their servers, which have rows of their own."""
    rows = []
    for request in requests:
        kept = ServerBuild()
        kept.CopyFrom(request)
        kept.ClearField("server")
        rows.append({"server_id": request.server.id, "build": kept.SerializeToString()})
    connection.execute(sa.insert(builds), rows)


def keep_for_action(connection: Connection, server_id: str, kept: ServerBuild) -> None:
    """Keeps what an action on a server that is built must know beside it; whatever was kept before is over."""
    forget(connection, server_id)
    connection.execute(sa.insert(builds), [{"server_id": server_id, "build": kept.SerializeToString()}])


def find(connection: Connection, server_id: str) -> ServerBuild | None:
    kept = connection.scalar(_BY_SERVER, {"server_id": server_id})
    return None if kept is None else ServerBuild.FromString(kept)


def load(connection: Connection, server_id: str) -> ServerBuild:
    build = find(connection, server_id)
    if build is None:
        raise errors.NotFound(f"Server {server_id} is not being built.", reason="BUILD_NOT_FOUND")
    return build


def forget(connection: Connection, server_id: str) -> None:
    connection.execute(_FORGET, {"server_id": server_id})


def attempt(run: Run) -> int:
    """How many destinations were tried before this one."""
    return int(run.memory.get("destination", 0))


def destination(build: ServerBuild, run: Run) -> Destination:
    return [build.destination, *build.alternates][attempt(run)]


def needs_ports(build: ServerBuild) -> bool:
    return bool(build.networks) or build.automatic_network


def needs_volumes(server: Server) -> bool:
    return any(
        device.destination == BlockDeviceDestination.BLOCK_DEVICE_DESTINATION_VOLUME
        for device in server.block_devices
    )


def task_state_before(step: str, build: ServerBuild, server: Server) -> TaskState.ValueType:
    """The task state with which a server waits for `step` or, if that is not needed, for the next one."""
    if step == "networking" and needs_ports(build):
        return TaskState.TASK_STATE_NETWORKING
    if step in ("networking", "block_device_mapping") and needs_volumes(server):
        return TaskState.TASK_STATE_BLOCK_DEVICE_MAPPING
    return TaskState.TASK_STATE_SPAWNING
