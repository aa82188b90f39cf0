"""Mends of consumers: those whose record is missing, those that say of nobody whose they are, those that hold
nothing."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.placement import tables
from protonova.services.placement.holders import Nobody
from protonova.services.runtime.database import insert_ignore, now

_consumers = tables.consumers
_allocations = tables.allocations
_UNNAMED = sa.or_(_consumers.c.project_id == "", _consumers.c.user_id == "")


class MissingConsumers:
    """Allocations whose consumer has no record count, but nobody can see or release them.

    Which consumer it was is lost with the record. It gets one with an id of its own, of no known type: from then on
    an operator sees what is held, and can release it. Keys are the consumers' numbers.
    """

    name = "missing-consumers"
    text = "allocations whose consumer has no record"

    def __init__(self, nobody: Nobody) -> None:
        self._nobody = nobody

    def find(self, connection: Connection, limit: int) -> Sequence[int]:
        query = (
            sa.select(_allocations.c.consumer_id)
            .distinct()
            .outerjoin(_consumers, _consumers.c.id == _allocations.c.consumer_id)
            .where(_consumers.c.id.is_(None))
            .order_by(_allocations.c.consumer_id)
            .limit(limit)
        )
        return connection.execute(query).scalars().all()

    def mend(self, connection: Connection, keys: Sequence[int]) -> int:
        held = sa.select(_allocations.c.consumer_id).distinct().where(_allocations.c.consumer_id.in_(keys))
        known = sa.select(_consumers.c.id).where(_consumers.c.id.in_(keys))
        missing = set(connection.execute(held).scalars()) - set(connection.execute(known).scalars())
        insert_ignore(
            connection,
            _consumers,
            [
                {
                    "id": number,
                    "uuid": str(uuid.uuid4()),
                    "generation": 1,
                    "project_id": self._nobody.project_id,
                    "user_id": self._nobody.user_id,
                    "type": "",
                    "updated_at": now(),
                }
                for number in sorted(missing)
            ],
        )
        return len(missing)

    def describe(self, key: int) -> str:
        return f"consumer number {key} has allocations and no record"


class UnnamedConsumers:
    """Consumers without a project or a user are those of the configured ones. Keys are their UUIDs."""

    name = "unnamed-consumers"
    text = "consumers without a project or a user"

    def __init__(self, nobody: Nobody) -> None:
        self._nobody = nobody

    def find(self, connection: Connection, limit: int) -> Sequence[str]:
        query = sa.select(_consumers.c.uuid).where(_UNNAMED).order_by(_consumers.c.id).limit(limit)
        return connection.execute(query).scalars().all()

    def mend(self, connection: Connection, keys: Sequence[str]) -> int:
        def named(column: sa.Column[str], name: str) -> sa.ColumnElement[str]:
            return sa.case((column == "", name), else_=column)

        return connection.execute(
            _consumers.update()
            .where(_consumers.c.uuid.in_(keys), _UNNAMED)
            .values(
                project_id=named(_consumers.c.project_id, self._nobody.project_id),
                user_id=named(_consumers.c.user_id, self._nobody.user_id),
            )
        ).rowcount

    def describe(self, key: str) -> str:
        return f"consumer {key} has no project or no user"


class EmptyConsumers:
    """Consumers go with their last allocation; these have outlived it. Keys are their UUIDs."""

    name = "empty-consumers"
    text = "consumers without allocations"

    def find(self, connection: Connection, limit: int) -> Sequence[str]:
        query = (
            sa.select(_consumers.c.uuid)
            .where(~sa.exists().where(_allocations.c.consumer_id == _consumers.c.id))
            .order_by(_consumers.c.id)
            .limit(limit)
        )
        return connection.execute(query).scalars().all()

    def mend(self, connection: Connection, keys: Sequence[str]) -> int:
        locked = (
            sa.select(_consumers.c.id)
            .where(_consumers.c.uuid.in_(keys))
            .order_by(_consumers.c.id)
            .with_for_update()
        )
        numbers = set(connection.execute(locked).scalars())
        # Asked once they are locked: a claim may have been faster.
        holding = sa.select(_allocations.c.consumer_id).where(_allocations.c.consumer_id.in_(numbers))
        empty = sorted(numbers - set(connection.execute(holding).scalars()))
        connection.execute(_consumers.delete().where(_consumers.c.id.in_(empty)))
        return len(empty)

    def describe(self, key: str) -> str:
        return f"consumer {key} holds nothing"
