"""Mends of what inventories derive: `capacity` from their other columns, `used` from the allocations.

Both lock the providers first, as claims and changes of inventory do, so that nothing moves while they look. A
provider that was mended is told to the feed, so that every copy in memory is mended with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.placement import rows, tables
from protonova.services.placement.inventories import of_row

_inventories = tables.inventories
_allocations = tables.allocations
_providers = tables.resource_providers
_classes = tables.resource_classes
_PAGE = 2000


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """One inventory; the names are for people."""

    provider_id: int
    resource_class_id: int
    provider: str = ""
    resource_class: str = ""


def _held() -> sa.ScalarSelect[int]:
    """The sum of what is allocated of an inventory."""
    return (
        sa.select(sa.func.coalesce(sa.func.sum(_allocations.c.used), 0))
        .where(
            _allocations.c.provider_id == _inventories.c.provider_id,
            _allocations.c.resource_class_id == _inventories.c.resource_class_id,
        )
        .correlate(_inventories)
        .scalar_subquery()
    )


class Used:
    """Usage that is not the sum of the allocations: too little would let too much be given out."""

    name = "used"
    text = "inventories whose usage is not the sum of their allocations"

    def find(self, connection: Connection, limit: int) -> Sequence[Line]:
        sums = (
            sa.select(
                _allocations.c.provider_id,
                _allocations.c.resource_class_id,
                sa.func.sum(_allocations.c.used).label("held"),
            )
            .group_by(_allocations.c.provider_id, _allocations.c.resource_class_id)
            .subquery()
        )
        found = connection.execute(
            _named()
            .outerjoin(
                sums,
                sa.and_(
                    sums.c.provider_id == _inventories.c.provider_id,
                    sums.c.resource_class_id == _inventories.c.resource_class_id,
                ),
            )
            .where(_inventories.c.used != sa.func.coalesce(sums.c.held, 0))
            .limit(limit)
        )
        return [_line(row) for row in found]

    def mend(self, connection: Connection, keys: Sequence[Line]) -> int:
        def recount(line: Line) -> bool:
            return bool(
                connection.execute(
                    _inventories.update()
                    .where(*_is(line), _inventories.c.used != _held())
                    .values(used=_held())
                ).rowcount
            )

        return _each(connection, keys, recount)

    def describe(self, key: Line) -> str:
        return f"usage of {key.resource_class} on {key.provider} is not the sum of its allocations"


class Capacity:
    """Capacity that does not follow from total, reserved and ratio."""

    name = "capacity"
    text = "inventories whose capacity does not follow from total, reserved and ratio"

    def find(self, connection: Connection, limit: int) -> Sequence[Line]:
        found: list[Line] = []
        at = (0, 0)
        while len(found) < limit:
            page = connection.execute(
                sa.select(_inventories)
                .where(sa.tuple_(_inventories.c.provider_id, _inventories.c.resource_class_id) > at)
                .order_by(_inventories.c.provider_id, _inventories.c.resource_class_id)
                .limit(_PAGE)
            ).all()
            found += [Line(row.provider_id, row.resource_class_id) for row in page if not _agrees(row)]
            if len(page) < _PAGE:
                break
            at = page[-1].provider_id, page[-1].resource_class_id
        return [self._name(connection, line) for line in found[:limit]]

    def mend(self, connection: Connection, keys: Sequence[Line]) -> int:
        def derive(line: Line) -> bool:
            row = connection.execute(sa.select(_inventories).where(*_is(line))).first()
            if row is None or _agrees(row):
                return False
            connection.execute(_inventories.update().where(*_is(line)).values(capacity=_capacity(row)))
            return True

        return _each(connection, keys, derive)

    def describe(self, key: Line) -> str:
        return f"capacity of {key.resource_class} on {key.provider} is another than its inventory says"

    def _name(self, connection: Connection, line: Line) -> Line:
        row = connection.execute(_named().where(*_is(line))).first()
        return line if row is None else _line(row)


def _line(row: sa.Row[Any]) -> Line:
    return Line(row.provider_id, row.resource_class_id, row.uuid, row.name)


def _capacity(row: sa.Row[Any]) -> int:
    return max(of_row(row).capacity, 0)


def _agrees(row: sa.Row[Any]) -> bool:
    return bool(row.capacity == _capacity(row))


def _is(line: Line) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        _inventories.c.provider_id == line.provider_id,
        _inventories.c.resource_class_id == line.resource_class_id,
    )


def _named() -> sa.Select[Any]:
    return (
        sa.select(
            _inventories.c.provider_id,
            _inventories.c.resource_class_id,
            _providers.c.uuid,
            _classes.c.name,
        )
        .select_from(_inventories)
        .join(_providers, _providers.c.id == _inventories.c.provider_id)
        .join(_classes, _classes.c.id == _inventories.c.resource_class_id)
        .order_by(_inventories.c.provider_id, _inventories.c.resource_class_id)
    )


def _each(connection: Connection, lines: Iterable[Line], mend: Callable[[Line], bool]) -> int:
    """Mends lines of providers that are locked; marks and tells those of which a line was mended."""
    wanted = sorted(lines)
    locked = rows.lock_many(connection, {line.provider for line in wanted})
    mended = [line for line in wanted if line.provider in locked and mend(line)]
    changed = sorted({line.provider for line in mended})
    for provider in sorted((locked[uuid] for uuid in changed), key=lambda row: row.id):
        rows.touch(connection, provider)
    rows.tell(connection, changed)
    return len(mended)
