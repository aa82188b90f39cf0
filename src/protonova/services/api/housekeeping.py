"""Forgets what is no longer asked for: idempotency keys past their day."""

from __future__ import annotations

from sqlalchemy import Connection, select

from protonova.services.api import idempotency
from protonova.services.runtime.config import Conf
from protonova.services.runtime.database import Database


def forget_keys(conf: Conf, db: Database) -> int:
    """How many keys were forgotten."""

    def forget(connection: Connection) -> int:
        now = connection.execute(select(db.now())).scalar_one()
        return idempotency.forget_expired(connection, now, conf.api.idempotency_key_seconds)

    return db.write(forget)
