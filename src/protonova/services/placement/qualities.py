"""Traits and aggregates of providers: sets that are replaced whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.placement import refusals, rows, tables
from protonova.services.placement.names import Vocabulary
from protonova.services.runtime.database import Database, insert_ignore

_traits = tables.provider_traits
_aggregates = tables.provider_aggregates


class Qualities:
    """Answers are the provider's generation and the names or UUIDs, sorted."""

    def __init__(self, db: Database, vocabulary: Vocabulary) -> None:
        self._db = db
        self._vocabulary = vocabulary

    def traits(self, provider_id: str) -> tuple[int, list[str]]:
        """Raises PROVIDER_NOT_FOUND."""

        def read(connection: Connection) -> tuple[int, set[int]]:
            row = rows.get(connection, provider_id)
            return row.generation, _trait_numbers(connection, row.id)

        generation, numbers = self._db.read(read)
        return generation, sorted(map(self._vocabulary.trait_name, numbers))

    def replace_traits(
        self, provider_id: str, generation: int | None, names: Iterable[str]
    ) -> tuple[int, list[str]]:
        """The same set again changes nothing, the generation neither. Raises PROVIDER_NOT_FOUND,
        CONCURRENT_UPDATE, TRAIT_NOT_FOUND."""
        wanted = {name: self._vocabulary.trait_number(name) for name in names}
        numbers = set(wanted.values())

        def write(connection: Connection) -> int:
            row = rows.lock(connection, provider_id, generation)
            before = _trait_numbers(connection, row.id)
            if before == numbers:
                return row.generation
            _exchange(connection, _traits, _traits.c.trait_id, row.id, before, numbers)
            raised = rows.touch(connection, row)
            rows.tell(connection, [provider_id])
            return raised

        try:
            raised = self._db.write(write)
        except sa.exc.IntegrityError:  # a trait was deleted meanwhile
            self._vocabulary.reload()
            for name in wanted:
                self._vocabulary.trait_number(name)
            raise refusals.provider_changed(provider_id) from None
        return raised, sorted(wanted)

    def aggregates(self, provider_id: str) -> tuple[int, list[str]]:
        """Raises PROVIDER_NOT_FOUND."""

        def read(connection: Connection) -> tuple[int, list[str]]:
            row = rows.get(connection, provider_id)
            found = connection.execute(
                sa.select(tables.aggregates.c.uuid)
                .join(_aggregates, _aggregates.c.aggregate_id == tables.aggregates.c.id)
                .where(_aggregates.c.provider_id == row.id)
            )
            return row.generation, sorted(found.scalars())

        return self._db.read(read)

    def replace_aggregates(
        self, provider_id: str, generation: int | None, uuids: Iterable[str]
    ) -> tuple[int, list[str]]:
        """Without a generation it is neither compared nor raised. Raises PROVIDER_NOT_FOUND, CONCURRENT_UPDATE."""
        wanted = sorted(set(uuids))

        def write(connection: Connection) -> int:
            row = rows.lock(connection, provider_id, generation)
            numbers = _aggregate_numbers(connection, wanted)
            before = set(
                connection.execute(
                    sa.select(_aggregates.c.aggregate_id).where(_aggregates.c.provider_id == row.id)
                ).scalars()
            )
            _exchange(connection, _aggregates, _aggregates.c.aggregate_id, row.id, before, numbers)
            raised = rows.touch(connection, row, public=generation is not None)
            rows.tell(connection, [provider_id])
            return raised

        return self._db.write(write), wanted


def _trait_numbers(connection: Connection, provider_id: int) -> set[int]:
    return set(
        connection.execute(
            sa.select(_traits.c.trait_id).where(_traits.c.provider_id == provider_id)
        ).scalars()
    )


def _aggregate_numbers(connection: Connection, uuids: Sequence[str]) -> set[int]:
    """Numbers of aggregates, made where they are new: placement asks nobody whether an aggregate exists."""
    if not uuids:
        return set()
    table = tables.aggregates
    query = sa.select(table.c.id).where(table.c.uuid.in_(uuids))
    numbers = set(connection.execute(query).scalars())
    if len(numbers) < len(uuids):
        insert_ignore(connection, table, [{"uuid": uuid} for uuid in uuids])
        numbers = set(connection.execute(query).scalars())
    return numbers


def _exchange(
    connection: Connection,
    table: sa.Table,
    column: sa.Column[int],
    provider_id: int,
    before: set[int],
    after: set[int],
) -> None:
    if gone := before - after:
        connection.execute(table.delete().where(table.c.provider_id == provider_id, column.in_(sorted(gone))))
    if new := after - before:
        connection.execute(
            table.insert(), [{"provider_id": provider_id, column.name: number} for number in sorted(new)]
        )
