"""Moves inventories and allocations of many providers and consumers in one transaction.

New inventory is added first, then the allocations move, then the inventory goes that is named no more: in between
nothing is ever allocated of what is not there. For a caller it is one change or none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.placement import inventories, refusals, rows
from protonova.services.placement.claims import writing
from protonova.services.placement.claims.change import Claim
from protonova.services.placement.claims.ledger import Page, ProviderEntry
from protonova.services.placement.names import Vocabulary
from protonova.services.placement.records import Inventory
from protonova.services.placement.rows import ProviderRow
from protonova.services.runtime.database import Database


@dataclass(frozen=True, slots=True)
class NewShape:
    """All that a provider is to have; the generation is what the caller saw."""

    provider_id: str
    generation: int
    inventories: Mapping[str, Inventory]


class Reshaper:
    """Carries reshapes out."""

    def __init__(self, db: Database, vocabulary: Vocabulary, *, attempts: int) -> None:
        self._db = db
        self._vocabulary = vocabulary
        self._attempts = attempts

    def reshape(self, shapes: Sequence[NewShape], claim: Claim) -> list[str]:
        """Answers the ids of the providers that changed. Raises PROVIDER_NOT_FOUND, CONCURRENT_UPDATE,
        INVENTORY_IN_USE, and what a claim raises."""
        for shape in shapes:
            for name, inventory in shape.inventories.items():
                self._vocabulary.class_number(name)
                inventories.check(
                    shape.provider_id, name, inventory, allow_full_reservation=True, whole=False
                )
        for _ in range(self._attempts):
            try:
                return self._db.write(lambda connection: self._transaction(connection, shapes, claim))
            except (writing.StaleError, sa.exc.IntegrityError):
                continue
        raise refusals.contended()

    def _transaction(self, connection: Connection, shapes: Sequence[NewShape], claim: Claim) -> list[str]:
        # In the order of claims, so that the two wait for each other in one direction only.
        writing.lock_consumers(connection, claim)
        locked = _lock(connection, shapes, {provider for change in claim for provider, _ in change.wanted})
        gone: list[tuple[ProviderRow, int]] = []
        for shape in shapes:
            row = locked[shape.provider_id]
            wanted = {
                self._vocabulary.class_number(name): inventory
                for name, inventory in shape.inventories.items()
            }
            before = inventories.load(connection, row.id)
            inventories.store(connection, row.id, wanted, before)
            gone.extend((row, number) for number in sorted(before.keys() - wanted.keys()))
        page = writing.read(connection, self._vocabulary, [claim])
        page.enter(claim)
        _touch(page, locked)
        changes = writing.write(connection, page)
        for row, number in gone:
            if not inventories.remove(connection, row.id, number):
                raise refusals.inventory_in_use(row.uuid, self._vocabulary.class_name(number))
        changed = [change.provider_id for change in changes]
        rows.tell(connection, changed)
        return changed


def _lock(connection: Connection, shapes: Sequence[NewShape], wanted: set[str]) -> dict[str, ProviderRow]:
    """The providers of the shapes; those that are wanted besides are locked along with them."""
    named = {shape.provider_id for shape in shapes}
    found = rows.lock_many(connection, named | wanted)
    locked = {uuid: row for uuid, row in found.items() if uuid in named}
    for shape in shapes:
        row = locked.get(shape.provider_id)
        if row is None:
            raise refusals.provider_not_found(shape.provider_id)
        if row.generation != shape.generation:
            raise refusals.provider_changed(shape.provider_id)
    return locked


def _touch(page: Page, locked: Mapping[str, ProviderRow]) -> None:
    """A provider whose inventory was named changes even where no allocation of it does."""
    for row in locked.values():
        entry = page.providers.setdefault(
            row.uuid, ProviderEntry(row.uuid, row.id, row.generation, row.version)
        )
        entry.touched = True
        entry.raised = max(entry.raised, 1)
