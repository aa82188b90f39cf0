"""Resource providers and the shape of their trees.

A change of shape (a child made, a provider moved) takes the one tree lock first: of two that would make a loop
together the second sees the first. A moved provider takes its whole subtree to the other root.
"""

from __future__ import annotations

import uuid as uuids
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.placement import rows, tables
from protonova.services.placement.rows import ProviderRow
from protonova.services.runtime import errors
from protonova.services.runtime.database import Database, now

T = TypeVar("T")

_LONGEST_NAME = 200
_providers = tables.resource_providers


class Providers:
    """Makes, changes and removes providers. Each answers the ids of the providers that changed."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def create(self, provider_id: str, name: str, parent_id: str) -> list[str]:
        """Raises DUPLICATE_NAME, PARENT_NOT_FOUND, PROVIDER_LOOP, PROVIDER_INVALID."""
        _check_name(name)
        provider_id = provider_id or str(uuids.uuid4())
        if parent_id == provider_id:
            raise _loop(provider_id)

        def write(connection: Connection) -> None:
            parent = None
            if parent_id:
                lock_trees(connection)
                parent = _parent(connection, parent_id)
            result = connection.execute(
                _providers.insert().values(
                    uuid=provider_id,
                    name=name,
                    generation=0,
                    version=0,
                    parent_id=None if parent is None else parent.id,
                    root_id=None if parent is None else parent.root_id,
                    created_at=now(),
                    updated_at=now(),
                )
            )
            if parent is None:
                (number,) = result.inserted_primary_key or (None,)
                connection.execute(
                    _providers.update().where(_providers.c.id == number).values(root_id=number)
                )
            rows.tell(connection, [provider_id])

        self._unique(write, provider_id, name)
        return [provider_id]

    def update(
        self, provider_id: str, name: str, parent_id: str | None, *, first_parent_only: bool
    ) -> list[str]:
        """`parent_id` None leaves the parent, "" makes a root of it. Raises PROVIDER_NOT_FOUND, DUPLICATE_NAME,
        PARENT_NOT_FOUND, PROVIDER_LOOP, REPARENT_REFUSED."""
        _check_name(name)

        def write(connection: Connection) -> list[str]:
            if parent_id is not None:
                lock_trees(connection)
            row = rows.lock(connection, provider_id)
            changed = [row.uuid]
            values: dict[str, Any] = {"name": name}
            if parent_id is not None:
                parent = _parent(connection, parent_id) if parent_id else None
                if (None if parent is None else parent.id) != row.parent_id:
                    if first_parent_only and row.parent_id is not None:
                        raise errors.FailedPrecondition(
                            f"Resource provider {provider_id} has a parent, which cannot be changed.",
                            reason="REPARENT_REFUSED",
                            provider_id=provider_id,
                        )
                    values["parent_id"] = None if parent is None else parent.id
                    changed += _move_subtree(connection, row, parent)
            connection.execute(_providers.update().where(_providers.c.id == row.id).values(**values))
            rows.touch(connection, row, public=False)
            rows.tell(connection, changed)
            return changed

        return self._unique(write, provider_id, name)

    def delete(self, provider_id: str) -> None:
        """Inventory, traits and aggregates go with it. Raises PROVIDER_NOT_FOUND, PROVIDER_IN_USE,
        PROVIDER_HAS_CHILDREN."""

        def write(connection: Connection) -> None:
            row = rows.lock(connection, provider_id)
            children = sa.select(_providers.c.id).where(_providers.c.parent_id == row.id).limit(1)
            if connection.execute(children).first() is not None:
                raise _has_children(provider_id)
            used = sa.select(tables.allocations.c.used).where(tables.allocations.c.provider_id == row.id)
            if connection.execute(used.limit(1)).first() is not None:
                raise _in_use(provider_id)
            for table in (tables.inventories, tables.provider_traits, tables.provider_aggregates):
                connection.execute(table.delete().where(table.c.provider_id == row.id))
            own = _providers.c.id == row.id
            # MariaDB does not let a row go that refers to itself.
            connection.execute(_providers.update().where(own).values(root_id=None))
            connection.execute(_providers.delete().where(own))
            rows.tell(connection, [provider_id], deleted=True)

        try:
            self._db.write(write)
        except sa.exc.IntegrityError:  # a child was made meanwhile: allocations are kept away by the lock
            raise _has_children(provider_id) from None

    def _unique(self, write: Callable[[Connection], T], provider_id: str, name: str) -> T:
        try:
            return self._db.write(write)
        except sa.exc.IntegrityError:
            raise errors.AlreadyExists(
                f"A resource provider with the name {name} or the id {provider_id} exists.",
                reason="DUPLICATE_NAME",
                name=name,
                provider_id=provider_id,
            ) from None


def lock_trees(connection: Connection) -> None:
    """Nobody else changes the shape of a tree until this transaction ends."""
    connection.execute(tables.tree_lock.update().values(turn=tables.tree_lock.c.turn + 1))


def _parent(connection: Connection, parent_id: str) -> ProviderRow:
    try:
        return rows.lock(connection, parent_id)
    except errors.NotFound:
        raise errors.InvalidArgument(
            f"There is no parent provider {parent_id}.", reason="PARENT_NOT_FOUND", provider_id=parent_id
        ) from None


def _move_subtree(connection: Connection, row: ProviderRow, parent: ProviderRow | None) -> list[str]:
    """Gives a provider and all below it another root; answers those below."""
    below = _below(connection, row)
    ids = [id_ for id_, _ in below]
    if parent is not None and (parent.id == row.id or parent.id in ids):
        raise _loop(row.uuid)
    root = row.id if parent is None else parent.root_id
    connection.execute(_providers.update().where(_providers.c.id.in_([row.id, *ids])).values(root_id=root))
    rows.touch_quietly(connection, ids)
    return [uuid for _, uuid in below]


def _below(connection: Connection, row: ProviderRow) -> list[tuple[int, str]]:
    """Number and UUID of all providers below one."""
    tree = connection.execute(
        sa.select(_providers.c.id, _providers.c.uuid, _providers.c.parent_id).where(
            _providers.c.root_id == row.root_id
        )
    )
    children: dict[int, list[tuple[int, str]]] = {}
    for id_, uuid, parent in tree:
        children.setdefault(parent, []).append((id_, uuid))
    found: list[tuple[int, str]] = []
    waiting: Iterable[tuple[int, str]] = children.get(row.id, [])
    while waiting:
        found.extend(waiting)
        waiting = [child for id_, _ in waiting for child in children.get(id_, ())]
    return found


def _check_name(name: str) -> None:
    if not 0 < len(name) <= _LONGEST_NAME:
        raise errors.InvalidArgument(
            f"The name of a resource provider has 1 to {_LONGEST_NAME} characters.",
            reason="PROVIDER_INVALID",
            field="name",
        )


def _loop(provider_id: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(
        f"Resource provider {provider_id} would be below itself.",
        reason="PROVIDER_LOOP",
        provider_id=provider_id,
    )


def _in_use(provider_id: str) -> errors.FailedPrecondition:
    return errors.FailedPrecondition(
        f"Something is allocated of resource provider {provider_id}.",
        reason="PROVIDER_IN_USE",
        provider_id=provider_id,
    )


def _has_children(provider_id: str) -> errors.FailedPrecondition:
    return errors.FailedPrecondition(
        f"Resource provider {provider_id} has children.",
        reason="PROVIDER_HAS_CHILDREN",
        provider_id=provider_id,
    )
