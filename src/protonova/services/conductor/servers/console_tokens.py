"""Tokens of consoles. What is kept is a hash: whoever reads the database can open no console.

A token is good until it expires, and for the guest it was made for: not for one that has gone to another host.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.conductor.tables import console_tokens
from protonova.services.runtime.database import now

_tokens = console_tokens


@dataclass(frozen=True)
class Console:
    """Where a token leads. `guest_host`: the host the guest was on; `host` and the ports: where it shows itself."""

    server_id: str
    type: str
    guest_host: str
    host: str
    port: int
    tls_port: int


def new_token() -> str:
    return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))


def keep(connection: Connection, token: str, console: Console, seconds: int) -> None:
    """Keeps a token, and forgets those whose time is over."""
    connection.execute(sa.delete(_tokens).where(_tokens.c.expires_at <= now()))
    connection.execute(
        sa.insert(_tokens).values(
            token_hash=_hash(token),
            server_id=console.server_id,
            type=console.type,
            guest_host=console.guest_host,
            host=console.host,
            port=console.port,
            tls_port=console.tls_port,
            expires_at=now() + seconds * 1_000_000,
        )
    )


def find(connection: Connection, token: str) -> Console | None:
    columns = [_tokens.c[name] for name in Console.__dataclass_fields__]
    query = sa.select(*columns).where(_tokens.c.token_hash == _hash(token), _tokens.c.expires_at > now())
    row = connection.execute(query).first()
    return None if row is None else Console(*row)


def forget(connection: Connection, server_id: str) -> None:
    connection.execute(sa.delete(_tokens).where(_tokens.c.server_id == server_id))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
