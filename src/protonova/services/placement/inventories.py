"""Inventories: what a provider has of each class.

A write locks the provider, compares its generation, and never touches `used`, which is the allocations' own. A
class goes only while nothing of it is used; total and ratio may fall below what is used, then nothing more fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.placement import refusals, rows, tables
from protonova.services.placement.names import Vocabulary
from protonova.services.placement.records import MAX_INTEGER, MAX_RATIO, Inventory
from protonova.services.runtime import errors
from protonova.services.runtime.database import Database

_inventories = tables.inventories


class Change(Enum):
    """What an update does with the classes it names."""

    REPLACE_ALL = auto()
    ADD = auto()
    UPDATE = auto()
    REMOVE = auto()


@dataclass(frozen=True, slots=True)
class InventoryRow:
    """One class of a provider, as the database has it."""

    inventory: Inventory
    capacity: int
    used: int


class Inventories:
    """Reads and writes them."""

    def __init__(self, db: Database, vocabulary: Vocabulary) -> None:
        self._db = db
        self._vocabulary = vocabulary

    def get(self, provider_id: str) -> tuple[int, dict[str, InventoryRow]]:
        """The provider's generation, and its inventory and usage by class. Raises PROVIDER_NOT_FOUND."""

        def read(connection: Connection) -> tuple[int, dict[int, InventoryRow]]:
            row = rows.get(connection, provider_id)
            return row.generation, load(connection, row.id)

        generation, found = self._db.read(read)
        return generation, self._named(found)

    def update(
        self,
        provider_id: str,
        generation: int | None,
        change: Change,
        inventories: Mapping[str, Inventory],
        *,
        allow_full_reservation: bool,
    ) -> tuple[int, dict[str, InventoryRow]]:
        """Answers as `get` does, after the change."""
        numbers = {name: self._vocabulary.class_number(name) for name in inventories}
        if change is not Change.REMOVE:
            for name, inventory in inventories.items():
                check(provider_id, name, inventory, allow_full_reservation=allow_full_reservation)

        def write(connection: Connection) -> tuple[int, dict[int, InventoryRow]]:
            row = rows.lock(connection, provider_id, generation)
            before = load(connection, row.id)
            wanted = {numbers[name]: inventory for name, inventory in inventories.items()}
            self._check_change(provider_id, change, wanted, before)
            if change is Change.REMOVE:
                gone = set(wanted)
            else:
                store(connection, row.id, wanted, before)
                gone = before.keys() - wanted.keys() if change is Change.REPLACE_ALL else set()
            for number in sorted(gone):
                if not remove(connection, row.id, number):
                    raise refusals.inventory_in_use(provider_id, self._vocabulary.class_name(number))
            raised = rows.touch(connection, row)
            after = load(connection, row.id)
            rows.tell(connection, [provider_id])
            return raised, after

        try:
            raised, after = self._db.write(write)
        except sa.exc.IntegrityError:  # a class was deleted meanwhile
            self._vocabulary.reload()
            for name in inventories:
                self._vocabulary.class_number(name)
            raise refusals.provider_changed(provider_id) from None
        return raised, self._named(after)

    def _check_change(
        self,
        provider_id: str,
        change: Change,
        wanted: Mapping[int, Inventory],
        before: Mapping[int, InventoryRow],
    ) -> None:
        for number in wanted:
            if change is Change.ADD and number in before:
                name = self._vocabulary.class_name(number)
                raise errors.AlreadyExists(
                    f"Resource provider {provider_id} has inventory of {name} already.",
                    reason="INVENTORY_EXISTS",
                    provider_id=provider_id,
                    resource_class=name,
                )
            if change in (Change.UPDATE, Change.REMOVE) and number not in before:
                raise refusals.inventory_not_found(provider_id, self._vocabulary.class_name(number))

    def _named(self, found: Mapping[int, InventoryRow]) -> dict[str, InventoryRow]:
        return {self._vocabulary.class_name(number): row for number, row in found.items()}


def check(
    provider_id: str, name: str, inventory: Inventory, *, allow_full_reservation: bool, whole: bool = True
) -> None:
    """Raises INVENTORY_INVALID. Without `whole` the reservation may be anything, as when trees are reshaped."""
    bounds = {
        "total": (inventory.total, 1),
        "reserved": (inventory.reserved, 0),
        "min_unit": (inventory.min_unit, 1),
        "max_unit": (inventory.max_unit, 1),
        "step_size": (inventory.step_size, 1),
    }
    for field, (value, lowest) in bounds.items():
        if not lowest <= value <= MAX_INTEGER:
            raise _invalid(provider_id, name, f"{field} must be {lowest} to {MAX_INTEGER}, not {value}")
    if not 0 < inventory.allocation_ratio <= MAX_RATIO:
        raise _invalid(provider_id, name, f"allocation_ratio must be above 0 and at most {MAX_RATIO}")
    if not whole:
        return
    if inventory.reserved > inventory.total:
        raise _invalid(provider_id, name, "reserved is more than total")
    if inventory.capacity == 0 and not allow_full_reservation:
        raise _invalid(provider_id, name, "reserved and allocation_ratio leave nothing of total")


def _invalid(provider_id: str, name: str, why: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(
        f"Inventory of {name} on resource provider {provider_id} is not valid: {why}.",
        reason="INVENTORY_INVALID",
        provider_id=provider_id,
        resource_class=name,
    )


def load(connection: Connection, provider_id: int) -> dict[int, InventoryRow]:
    """By number of the class, sorted by it."""
    found = connection.execute(
        sa.select(_inventories)
        .where(_inventories.c.provider_id == provider_id)
        .order_by(_inventories.c.resource_class_id)
    )
    return {row.resource_class_id: InventoryRow(of_row(row), row.capacity, row.used) for row in found}


def of_row(row: Any) -> Inventory:
    return Inventory(row.total, row.reserved, row.min_unit, row.max_unit, row.step_size, row.allocation_ratio)


def store(
    connection: Connection,
    provider_id: int,
    wanted: Mapping[int, Inventory],
    before: Mapping[int, InventoryRow],
) -> None:
    """Adds and changes inventories of a locked provider."""
    new = [
        {"provider_id": provider_id, "resource_class_id": number, "used": 0, **_values(inventory)}
        for number, inventory in sorted(wanted.items())
        if number not in before
    ]
    if new:
        connection.execute(_inventories.insert(), new)
    changed = [
        {"provider": provider_id, "class": number, **_values(inventory)}
        for number, inventory in sorted(wanted.items())
        if number in before and before[number].inventory != inventory
    ]
    if changed:
        connection.execute(
            _inventories.update().where(
                _inventories.c.provider_id == sa.bindparam("provider"),
                _inventories.c.resource_class_id == sa.bindparam("class"),
            ),
            changed,
        )


def remove(connection: Connection, provider_id: int, number: int) -> bool:
    """False when some of it is used."""
    result = connection.execute(
        _inventories.delete().where(
            _inventories.c.provider_id == provider_id,
            _inventories.c.resource_class_id == number,
            _inventories.c.used == 0,
        )
    )
    return result.rowcount == 1


def _values(inventory: Inventory) -> dict[str, Any]:
    return {
        "total": inventory.total,
        "reserved": inventory.reserved,
        "min_unit": inventory.min_unit,
        "max_unit": inventory.max_unit,
        "step_size": inventory.step_size,
        "allocation_ratio": inventory.allocation_ratio,
        "capacity": max(inventory.capacity, 0),
    }
