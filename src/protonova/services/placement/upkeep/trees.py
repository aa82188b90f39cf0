"""The mend of trees: every provider names the root of the tree it is in, which its parents tell.

Parents are the truth, roots are derived from them. A chain of parents that ends nowhere, or in itself, tells no
root; only whoever knows the machines can say what is right there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.placement import providers, rows, tables

_providers = tables.resource_providers

# (parent, root) by number; None = it names none.
Shape = Mapping[int, tuple[int | None, int | None]]


def roots(shape: Shape) -> dict[int, int | None]:
    """The root that follows from the parents, for each provider; None where they contradict each other."""
    found: dict[int, int | None] = {}
    for provider in shape:
        path: list[int] = []
        at: int | None = provider
        while at is not None and at in shape and at not in found and at not in path:
            path.append(at)
            at = shape[at][0]
        if at is None:  # the last of the path has no parent
            root: int | None = path[-1]
        else:
            root = found.get(at) if at not in path else None
        found.update(dict.fromkeys(path, root))
    return found


class Roots:
    """Keys are UUIDs of providers that name another root than their parents tell."""

    name = "roots"
    text = "resource providers that name another root than their parents tell"

    def find(self, connection: Connection, limit: int) -> Sequence[str]:
        return [uuid for uuid, _, _ in _wrong(connection)[:limit]]

    def mend(self, connection: Connection, keys: Sequence[str]) -> int:
        providers.lock_trees(connection)
        wrong = [entry for entry in _wrong(connection) if entry[0] in set(keys)]
        locked = rows.lock_many(connection, [uuid for uuid, _, _ in wrong])
        for uuid, number, root in wrong:
            connection.execute(_providers.update().where(_providers.c.id == number).values(root_id=root))
            rows.touch(connection, locked[uuid], public=False)
        rows.tell(connection, [uuid for uuid, _, _ in wrong])
        return len(wrong)

    def describe(self, key: str) -> str:
        return f"resource provider {key} names another root than its parents tell"


def contradictions(connection: Connection) -> list[str]:
    """UUIDs of providers whose parents lead nowhere, or in a circle."""
    uuids, shape = _shape(connection)
    return [uuids[number] for number, root in sorted(roots(shape).items()) if root is None]


def _wrong(connection: Connection) -> list[tuple[str, int, int]]:
    """UUID, number and right root of those that name another, in the order of their numbers."""
    uuids, shape = _shape(connection)
    return [
        (uuids[number], number, root)
        for number, root in sorted(roots(shape).items())
        if root is not None and root != shape[number][1]
    ]


def _shape(connection: Connection) -> tuple[dict[int, str], dict[int, tuple[int | None, int | None]]]:
    found = connection.execute(
        sa.select(_providers.c.id, _providers.c.uuid, _providers.c.parent_id, _providers.c.root_id)
    ).all()
    return {row.id: row.uuid for row in found}, {row.id: (row.parent_id, row.root_id) for row in found}
