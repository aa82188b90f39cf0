"""Repeated creates: a key a client sends along answers every repeat with the first result.

The record is written in the transaction that accepts the servers, so a client that never heard the answer may ask
again whatever happened to this process. Keys belong to a project and are forgotten after a day.
"""

from __future__ import annotations

import hashlib

from sqlalchemy import Connection, delete, select, update

from protonova.api.v1 import server_pb2 as pb
from protonova.services.api import tables, times
from protonova.services.runtime import database, errors
from protonova.services.runtime.context import RequestContext

_keys = tables.idempotency_keys
_LENGTH = 255


def check(key: str) -> None:
    if len(key) > _LENGTH:
        raise errors.InvalidArgument(
            f"An idempotency key has at most {_LENGTH} characters.", reason="IDEMPOTENCY_KEY_INVALID"
        )


def fingerprint(request: pb.CreateServersRequest, caller: RequestContext) -> str:
    """What makes two requests the same: all they say, and who says it, with whichever token."""
    bare = pb.CreateServersRequest()
    bare.CopyFrom(request)
    for field in ("idempotency_key", "user_token"):
        bare.ClearField(field)
    said = bare.SerializeToString(deterministic=True)
    return hashlib.sha256(caller.user_id.encode() + b"\0" + said).hexdigest()


def first_answer(
    connection: Connection, request: pb.CreateServersRequest, caller: RequestContext, mark: str, oldest: int
) -> pb.CreateServersResponse | None:
    """The answer the key got before. Raises IDEMPOTENCY_KEY_REUSED."""
    row = connection.execute(
        select(_keys).where(
            _keys.c.project_id == caller.project_id,
            _keys.c.key == request.idempotency_key,
            _keys.c.created_at > oldest,
        )
    ).first()
    if row is None:
        return None
    if row.request_hash != mark:
        raise errors.FailedPrecondition(
            f"The idempotency key '{request.idempotency_key}' came with another request before.",
            reason="IDEMPOTENCY_KEY_REUSED",
            key=request.idempotency_key,
        )
    answer = pb.CreateServersResponse.FromString(row.response)
    answer.admin_password = row.admin_password
    answer.repeated_call = True
    return answer


def take(
    connection: Connection,
    caller: RequestContext,
    key: str,
    mark: str,
    reservation_id: str,
    now: int,
    oldest: int,
) -> bool:
    """Takes a key for a reservation; False when another one has it. A concurrent one is waited for."""
    mine = (_keys.c.project_id == caller.project_id, _keys.c.key == key)
    connection.execute(delete(_keys).where(*mine, _keys.c.created_at <= oldest))
    row = {
        "project_id": caller.project_id,
        "key": key,
        "request_hash": mark,
        "reservation_id": reservation_id,
        "response": b"",
        "admin_password": "",
        "created_at": now,
    }
    database.insert_ignore(connection, _keys, [row])
    return connection.execute(select(_keys.c.reservation_id).where(*mine)).scalar() == reservation_id


def keep(connection: Connection, caller: RequestContext, key: str, answer: pb.CreateServersResponse) -> None:
    """The generated password is kept only until the servers are built."""
    kept = pb.CreateServersResponse()
    kept.CopyFrom(answer)
    kept.ClearField("admin_password")
    connection.execute(
        update(_keys)
        .where(_keys.c.project_id == caller.project_id, _keys.c.key == key)
        .values(response=kept.SerializeToString(), admin_password=answer.admin_password)
    )


def forget_password(connection: Connection, reservation_id: str) -> None:
    connection.execute(
        update(_keys).where(_keys.c.reservation_id == reservation_id).values(admin_password="")
    )


def forget_expired(connection: Connection, now: int, seconds: int) -> int:
    """Removes keys nobody may repeat any more."""
    return connection.execute(
        delete(_keys).where(_keys.c.created_at <= now - seconds * times.SECOND)
    ).rowcount
