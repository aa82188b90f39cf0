"""Shares of servers: what is asked for is looked at, then the operation begins.

Whose a share is, whether it can be used and where hosts find it is the share service's to say; it is asked before
anything is written.
"""

from __future__ import annotations

import uuid

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import Server, ServerShare, ShareStatus
from protonova.conductor.v1 import server_device_pb2 as pb
from protonova.services.conductor import actions
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import share_access
from protonova.services.conductor.servers import shares
from protonova.services.conductor.service.begin import Beginnings
from protonova.services.runtime import context, errors
from protonova.services.runtime.openstack.share import Share

# Bytes, of which a virtio file system's tag has no more.
_LONGEST_TAG = 36


class ServerShares:
    def __init__(self, cell: Cell, beginnings: Beginnings) -> None:
        self._cell = cell
        self._begin = beginnings

    def attach(self, request: pb.AttachShareRequest) -> ServerShare:
        """Raises what the contract says."""
        cell = self._cell
        tag = request.tag or request.share_id
        if len(tag.encode()) > _LONGEST_TAG:
            raise errors.InvalidArgument(
                f"The tag '{tag}' is too long: a guest's file system has {_LONGEST_TAG} bytes for it.",
                reason="SHARE_TAG_INVALID",
                tag=tag,
            )

        def look(connection: Connection) -> Server:
            server = cell.servers.get(connection, request.server_id)
            actions.check(
                actions.ATTACH_SHARE,
                server,
                context.current(),
                lambda host: cell.host_is_up(connection, host),
            )
            return server

        server = cell.db.read(look)
        share = self._usable(request.share_id, server)
        attached = ServerShare(
            id=str(uuid.uuid4()),
            share_id=share.id,
            tag=tag,
            status=ShareStatus.SHARE_STATUS_ATTACHING,
            export_location=share.export_location,
            protocol=share.protocol,
        )
        _check_free(server, attached)

        def alter(changed: Server) -> None:
            _check_free(changed, attached)
            changed.shares.append(attached)

        self._begin.action(actions.ATTACH_SHARE, server.id, {"share": share.id}, alter=alter)
        return attached

    def detach(self, request: pb.DetachShareRequest) -> None:
        def alter(changed: Server) -> None:
            share = shares.find(changed, request.share_id)
            if share.status in shares.CHANGING:
                word = ShareStatus.Name(share.status).removeprefix("SHARE_STATUS_").lower()
                raise _unusable(share.share_id, word, f"server {changed.id} is {word} it")
            share.status = ShareStatus.SHARE_STATUS_DETACHING

        cell = self._cell
        shares.find(cell.db.read(lambda c: cell.servers.get(c, request.server_id)), request.share_id)
        payload = {"share": request.share_id}
        self._begin.action(actions.DETACH_SHARE, request.server_id, payload, alter=alter)

    def _usable(self, share_id: str, server: Server) -> Share:
        share = self._share(share_id)
        offered = self._offered(server.host)
        if share.status != "available":
            raise _unusable(share.id, "status", f"it is not available but {share.status}")
        if share.protocol not in share_access.PROTOCOLS or share.protocol not in offered:
            raise _unusable(
                share.id, "protocol", f"its protocol is {share.protocol}, not {' or '.join(sorted(offered))}"
            )
        if not share.export_location:
            raise _unusable(share.id, "export", "it is not exported")
        return share

    def _share(self, share_id: str) -> Share:
        """Raises `errors.NotFound` (SHARE_NOT_FOUND), also for shares of other projects."""
        ctx = context.current()
        try:
            found = self._cell.outside.shares.get(share_id)
        except (errors.NotFound, errors.InvalidArgument):
            found = None
        if found is None or not (ctx.is_admin or found.project_id == ctx.project_id):
            raise errors.NotFound(
                f"Share {share_id} could not be found.", reason="SHARE_NOT_FOUND", share_id=share_id
            )
        return found

    def _offered(self, host: str) -> set[str]:
        """Raises `errors.PermissionDenied` (SHARES_UNSUPPORTED)."""
        known = self._cell.host(host)
        offered = set(known.report.share_protocols) if known else set()
        if not offered:
            raise errors.PermissionDenied(
                f"Host {host} does not give shares to its guests.", reason="SHARES_UNSUPPORTED", host=host
            )
        return offered


def _check_free(server: Server, wanted: ServerShare) -> None:
    for share in server.shares:
        if share.share_id == wanted.share_id:
            raise errors.FailedPrecondition(
                f"Server {server.id} has share {share.share_id} already.",
                reason="SHARE_ATTACHED",
                share_id=share.share_id,
            )
        if share.tag == wanted.tag:
            raise errors.FailedPrecondition(
                f"Share {share.share_id} of server {server.id} has the tag '{share.tag}' already.",
                reason="SHARE_ATTACHED",
                share_id=share.share_id,
                tag=share.tag,
            )


def _unusable(share_id: str, cause: str, why: str) -> errors.FailedPrecondition:
    return errors.FailedPrecondition(
        f"Share {share_id} cannot be used: {why}.", reason="SHARE_UNUSABLE", share_id=share_id, cause=cause
    )
