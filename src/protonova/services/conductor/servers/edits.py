"""Changes of a server that touch nothing outside the database: its own description, metadata and tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import LockHolder, Server
from protonova.conductor.v1 import server_pb2
from protonova.services.conductor import actions
from protonova.services.conductor.servers.store import Servers, add_tags, remove_tags
from protonova.services.runtime import context, errors
from protonova.services.runtime.database import Database

MOST_TAGS = 50
_LONGEST_PASSWORD = 1020

_CHANGEABLE = (
    "name",
    "access_ip_v4",
    "access_ip_v6",
    "auto_disk_config",
    "hostname",
    "locked_by",
    "locked_reason",
    "encrypted_password",
    # Absent in the message = none.
    "description",
    "pinned_availability_zone",
)


def update(
    db: Database,
    store: Servers,
    request: server_pb2.UpdateServerRequest,
    record: Callable[[Connection, Server, str], None],
) -> Server:
    """Changes the fields of the mask. `record` notes a lock or unlock in the server's history."""
    paths = list(request.update_mask.paths)
    for path in paths:
        if path not in _CHANGEABLE:
            raise errors.InvalidArgument(
                f"'{path}' of a server cannot be changed this way.", reason="FIELD_NOT_CHANGEABLE", field=path
            )
    given = request.server
    if len(given.encrypted_password) > _LONGEST_PASSWORD:
        raise errors.InvalidArgument(
            f"An encrypted password has at most {_LONGEST_PASSWORD} characters.",
            reason="FIELD_INVALID",
            field="encrypted_password",
        )

    def alter(server: Server) -> None:
        for path in paths:
            if path == "description" and not given.HasField("description"):
                server.ClearField("description")
            elif path == "pinned_availability_zone" and not given.HasField("pinned_availability_zone"):
                server.ClearField("pinned_availability_zone")
            else:
                setattr(server, path, getattr(given, path))
        if server.locked_by == LockHolder.LOCK_HOLDER_UNSPECIFIED:
            server.locked_reason = ""

    def change(connection: Connection) -> Server:
        if "locked_by" in paths:
            record(connection, given, "lock" if given.locked_by else "unlock")
        return store.change(connection, given.id, alter)

    return db.write(change)


def update_metadata(
    db: Database, store: Servers, request: server_pb2.UpdateServerMetadataRequest
) -> Mapping[str, str]:
    """Raises `errors.QuotaExceeded` (QUOTA_EXCEEDED; resource metadata_items)."""
    ctx = context.current()

    def alter(server: Server) -> None:
        actions.check(actions.CHANGE_METADATA, server, ctx)
        if request.replace:
            server.metadata.clear()
        server.metadata.update(request.metadata)
        if 0 < request.max_items < len(server.metadata):
            raise errors.QuotaExceeded(
                f"A server has at most {request.max_items} metadata items.",
                reason="QUOTA_EXCEEDED",
                resource="metadata_items",
                limit=request.max_items,
                requested=len(server.metadata),
            )

    return db.write(lambda connection: store.change(connection, request.id, alter)).metadata


def delete_metadata_item(
    db: Database, store: Servers, request: server_pb2.DeleteServerMetadataItemRequest
) -> None:
    """Raises `errors.NotFound` (METADATA_NOT_FOUND)."""
    ctx = context.current()

    def alter(server: Server) -> None:
        if request.key not in server.metadata:
            raise errors.NotFound(
                f"Server {server.id} has no metadata item '{request.key}'.",
                reason="METADATA_NOT_FOUND",
                server_id=server.id,
                key=request.key,
            )
        actions.check(actions.CHANGE_METADATA, server, ctx)
        del server.metadata[request.key]

    db.write(lambda connection: store.change(connection, request.id, alter))


def update_tags(
    db: Database, store: Servers, request: server_pb2.UpdateServerTagsRequest
) -> server_pb2.UpdateServerTagsResponse:
    """Raises `errors.NotFound` (TAG_NOT_FOUND), `errors.InvalidArgument` (TOO_MANY_TAGS)."""
    ctx = context.current()

    def change(connection: Connection) -> server_pb2.UpdateServerTagsResponse:
        before: set[str] = set()

        def alter(server: Server) -> None:
            actions.check(actions.CHANGE_TAGS, server, ctx)
            before.update(server.tags)
            wanted = _tags_after(server, request)
            del server.tags[:]
            server.tags.extend(sorted(wanted))

        server = store.write(connection, request.id, alter)
        after = set(server.tags)
        remove_tags(connection, request.id, before - after)
        added = [tag for tag in dict.fromkeys(request.add) if tag not in before]
        add_tags(connection, [(request.id, tag) for tag in added])
        store.tell(connection, server)
        return server_pb2.UpdateServerTagsResponse(tags=server.tags, added=added)

    return db.write(change)


def _tags_after(server: Server, request: server_pb2.UpdateServerTagsRequest) -> set[str]:
    wanted = set() if request.replace else set(server.tags)
    for tag in request.remove:
        if tag not in wanted:
            raise errors.NotFound(
                f"Server {server.id} has no tag '{tag}'.",
                reason="TAG_NOT_FOUND",
                server_id=server.id,
                tag=tag,
            )
        wanted.remove(tag)
    wanted.update(request.add)
    if len(wanted) > MOST_TAGS:
        raise errors.InvalidArgument(
            f"A server has at most {MOST_TAGS} tags.",
            reason="TOO_MANY_TAGS",
            server_id=server.id,
            limit=MOST_TAGS,
        )
    return wanted
