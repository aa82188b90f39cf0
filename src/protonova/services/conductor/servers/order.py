"""The order of lists, and where a page begins.

A page begins after a server, not after a count: after its sort values, then its id. So a list that is read page by
page repeats nothing and misses nothing that was there all the time, however many servers come and go meanwhile.
The id decides between equals, in the direction of the last key.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement, UnaryExpression

from protonova.common.v1.server_pb2 import Server
from protonova.common.v1.server_query_pb2 import ServerSort
from protonova.services.conductor.servers.query import invalid
from protonova.services.conductor.servers.record import columns
from protonova.services.conductor.tables import servers

_OTHER_NAMES = {
    "image.id": "image_id",
    "flavor.id": "flavor_id",
    "image.properties.kernel_id": "kernel_id",
    "image.properties.ramdisk_id": "ramdisk_id",
    "locked": "locked_by",
}
_SORTABLE = {
    column.name
    for column in servers.columns
    if column.name not in {"number", "record", "generation", "addresses_v4", "addresses_v6", "disk_gb"}
}

# (column, descending)
Order = list[tuple[sa.Column, bool]]


def order_of(sorts: Sequence[ServerSort]) -> Order:
    """Raises `errors.InvalidArgument` (FILTER_INVALID; facts: field)."""
    order: Order = []
    for sort in sorts:
        name = _OTHER_NAMES.get(sort.key, sort.key)
        if name not in _SORTABLE:
            raise invalid(sort.key, f"Servers cannot be sorted by '{sort.key}'.")
        if all(column.name != name for column, _ in order):
            order.append((servers.c[name], sort.descending))
    if not order:
        order = [(servers.c.created_at, True)]
    if all(column.name != "id" for column, _ in order):
        order.append((servers.c.id, order[-1][1]))
    return order


def clauses(order: Order) -> list[UnaryExpression]:
    return [column.desc() if descending else column.asc() for column, descending in order]


def stands_ready(order: Order) -> bool:
    """Whether an index has servers in this order, at least those of a project."""
    return order[0][0].name in {"created_at", "name"}


def after(order: Order, server: Server) -> ColumnElement[bool]:
    """What comes after a server. The first column's bound is said once more, plainly, for the index's sake."""
    values = columns(server)
    branches: list[ColumnElement[bool]] = []
    equal: list[ColumnElement[bool]] = []
    for column, descending in order:
        value = sa.literal(values[column.name], column.type)
        beyond = column < value if descending else column > value
        branches.append(sa.and_(*equal, beyond))
        equal.append(column == value)
    first, descending = order[0]
    edge = sa.literal(values[first.name], first.type)
    bound = first <= edge if descending else first >= edge
    return sa.and_(bound, sa.or_(*branches))
