"""Key pairs as rows, each owned by a user."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select

from protonova.api.v1.keypair_pb2 import Keypair
from protonova.services.api import tables, times, usage
from protonova.services.runtime import errors

_keypairs = tables.keypairs


def get(connection: Connection, user_id: str, name: str) -> Keypair:
    """Raises KEYPAIR_NOT_FOUND."""
    row = connection.execute(select(_keypairs).where(*_named(user_id, name))).first()
    if row is None:
        raise not_found(name)
    return _message(row)


def not_found(name: str) -> errors.NotFound:
    return errors.NotFound(f"Keypair {name} could not be found.", reason="KEYPAIR_NOT_FOUND", name=name)


def listing(connection: Connection, user_id: str, marker: str, limit: int) -> list[Keypair]:
    """A user's pairs by name; `limit` 0 = all. Raises MARKER_NOT_FOUND."""
    query = select(_keypairs).where(_keypairs.c.user_id == user_id).order_by(_keypairs.c.name)
    if marker:
        if connection.execute(select(_keypairs.c.number).where(*_named(user_id, marker))).first() is None:
            raise errors.InvalidArgument(
                f"Marker {marker} could not be found.", reason="MARKER_NOT_FOUND", marker=marker
            )
        query = query.where(_keypairs.c.name > marker)
    if limit > 0:
        query = query.limit(limit)
    return [_message(row) for row in connection.execute(query)]


def create(connection: Connection, keypair: Keypair, limit: int, now: int) -> Keypair:
    """Charges the user's quota and keeps the public half. Raises KEYPAIR_EXISTS, QUOTA_EXCEEDED."""
    if connection.execute(select(_keypairs.c.number).where(*_named(keypair.user_id, keypair.name))).first():
        raise exists_already(keypair.name)
    usage.charge(connection, "", keypair.user_id, {"key_pairs": 1}, {"key_pairs": limit})
    connection.execute(
        insert(_keypairs).values(
            user_id=keypair.user_id,
            name=keypair.name,
            type=keypair.type,
            public_key=keypair.public_key,
            fingerprint=keypair.fingerprint,
            created_at=now,
        )
    )
    return get(connection, keypair.user_id, keypair.name)


def exists_already(name: str) -> errors.AlreadyExists:
    return errors.AlreadyExists(f"Key pair '{name}' already exists.", reason="KEYPAIR_EXISTS", name=name)


def remove(connection: Connection, user_id: str, name: str) -> None:
    """Raises KEYPAIR_NOT_FOUND."""
    if connection.execute(delete(_keypairs).where(*_named(user_id, name))).rowcount == 0:
        raise not_found(name)
    usage.give_back(connection, {("", user_id): {"key_pairs": 1}})


def _named(user_id: str, name: str) -> tuple[Any, ...]:
    return (_keypairs.c.user_id == user_id, _keypairs.c.name == name)


def _message(row: Row[Any, Any]) -> Keypair:
    return Keypair(
        number=row.number,
        user_id=row.user_id,
        name=row.name,
        type=row.type,
        public_key=row.public_key,
        fingerprint=row.fingerprint,
        created_at=times.stamp(row.created_at),
    )
