"""The shares of a server, as its record tells of them, and which hosts must reach which share.

`follow` keeps the statuses in step with the guest: what is plugged is active while it runs and inactive while it is
off. The rest of a status is what the operations of `attach_share` and `detach_share` say.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import Server, ServerShare, ShareStatus
from protonova.services.conductor import tables
from protonova.services.conductor.states import RUNS
from protonova.services.runtime import errors

_rows = tables.server_shares
_ATTACHING = ShareStatus.SHARE_STATUS_ATTACHING
_ACTIVE = ShareStatus.SHARE_STATUS_ACTIVE
_DETACHING = ShareStatus.SHARE_STATUS_DETACHING
_ERROR = ShareStatus.SHARE_STATUS_ERROR
CHANGING = (_ATTACHING, _DETACHING)


def find(server: Server, share_id: str) -> ServerShare:
    """Raises `errors.NotFound` (SHARE_NOT_ATTACHED)."""
    for share in server.shares:
        if share.share_id == share_id:
            return share
    raise errors.NotFound(
        f"Share {share_id} is not attached to server {server.id}.",
        reason="SHARE_NOT_ATTACHED",
        share_id=share_id,
        server_id=server.id,
    )


def drop(server: Server, share_id: str) -> None:
    left = [share for share in server.shares if share.share_id != share_id]
    del server.shares[:]
    server.shares.extend(left)


def follow(server: Server) -> None:
    for share in server.shares:
        if not share.plugged or share.status == _DETACHING:
            continue
        if server.power_state in RUNS:
            share.status = _ACTIVE
        elif share.status == _ACTIVE:
            share.status = ShareStatus.SHARE_STATUS_INACTIVE


def let_go(server: Server) -> None:
    """All that a server has is about to be given back."""
    for share in server.shares:
        share.status = _DETACHING


def give_up(server: Server, share_id: str = "") -> None:
    """What was under way with a share (or, if none is named, with any) has come to nothing; it can be detached."""
    for share in server.shares:
        if share.status in CHANGING and share_id in ("", share.share_id):
            share.status, share.plugged = _ERROR, False


def note_unavailable(server: Server, error: errors.Error) -> bool:
    """Whether a guest could not be started for want of a share, which is marked then."""
    if error.reason != "SHARE_UNAVAILABLE":
        return False
    for share in server.shares:
        if share.share_id == error.facts.get("share_id"):
            share.status = _ERROR
    return True


def index(connection: Connection, server: Server) -> None:
    """Writes the rows that say who must reach what."""
    connection.execute(sa.delete(_rows).where(_rows.c.server_id == server.id))
    rows = [
        {"server_id": server.id, "share_id": share.share_id, "needs_access": _needs_access(share)}
        for share in server.shares
    ]
    if rows:
        connection.execute(sa.insert(_rows), rows)


def _needs_access(share: ServerShare) -> bool:
    return share.status != _DETACHING and (share.plugged or share.status == _ATTACHING)


def needed_on(connection: Connection, share_id: str, but: str) -> set[str]:
    """The hosts that must reach a share for any server but one."""
    servers = tables.servers
    found = (
        sa.select(servers.c.host)
        .join(_rows, _rows.c.server_id == servers.c.id)
        .where(
            _rows.c.share_id == share_id,
            _rows.c.needs_access,
            servers.c.id != but,
            servers.c.deleted_at == 0,
        )
    )
    return set(connection.scalars(found.distinct()))
