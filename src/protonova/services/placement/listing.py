"""Lists providers by what they are and have: one query, whatever is asked for.

It reads the database, not the index: a list is expected to show what was written a moment ago, by whichever
replica.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from protonova.services.placement import tables
from protonova.services.placement.names import Vocabulary
from protonova.services.placement.query import Conditions
from protonova.services.runtime.database import Database

_providers = tables.resource_providers
_root = _providers.alias("root")
_parent = _providers.alias("parent")


@dataclass(frozen=True, slots=True)
class ProviderFilter:
    """All that is set must hold; `resources` are free on the provider itself."""

    name: str = ""
    id: str = ""
    in_tree: str = ""
    resources: Mapping[str, int] = field(default_factory=dict)
    conditions: Conditions = field(default_factory=Conditions)


@dataclass(frozen=True, slots=True)
class ListedProvider:
    """What a list tells of a provider; `parent` is empty at the root."""

    id: str
    name: str
    generation: int
    parent: str
    root: str
    updated_at: int


class Listing:
    """Answers filters."""

    def __init__(self, db: Database, vocabulary: Vocabulary) -> None:
        self._db = db
        self._vocabulary = vocabulary

    def find(self, wanted: ProviderFilter) -> list[ListedProvider]:
        """In the order they were made. Raises RESOURCE_CLASS_NOT_FOUND, TRAIT_NOT_FOUND."""
        query = (
            sa.select(
                _providers.c.uuid,
                _providers.c.name,
                _providers.c.generation,
                sa.func.coalesce(_parent.c.uuid, ""),
                _root.c.uuid,
                _providers.c.updated_at,
            )
            .join(_root, _root.c.id == _providers.c.root_id)
            .outerjoin(_parent, _parent.c.id == _providers.c.parent_id)
            .where(*self._conditions(wanted))
            .order_by(_providers.c.id)
        )
        rows = self._db.read(lambda connection: connection.execute(query).all())
        return [ListedProvider(*row) for row in rows]

    def _conditions(self, wanted: ProviderFilter) -> list[sa.ColumnElement[bool]]:
        found: list[sa.ColumnElement[bool]] = []
        if wanted.name:
            found.append(_providers.c.name == wanted.name)
        if wanted.id:
            found.append(_providers.c.uuid == wanted.id)
        if wanted.in_tree:
            member = _providers.alias("member")
            tree = sa.select(member.c.root_id).where(member.c.uuid == wanted.in_tree).scalar_subquery()
            found.append(_providers.c.root_id == tree)
        found.extend(self._free(name, amount) for name, amount in wanted.resources.items())
        conditions = wanted.conditions
        found.extend(self._has_trait(choice) for choice in conditions.required)
        if conditions.forbidden:
            found.append(~self._has_trait(conditions.forbidden))
        found.extend(_in_aggregate(choice) for choice in conditions.member_of)
        if conditions.forbidden_aggregates:
            found.append(~_in_aggregate(conditions.forbidden_aggregates))
        return found

    def _free(self, name: str, amount: int) -> sa.ColumnElement[bool]:
        table = tables.inventories
        return sa.exists(
            sa.select(table.c.provider_id).where(
                table.c.provider_id == _providers.c.id,
                table.c.resource_class_id == self._vocabulary.class_number(name),
                table.c.used + amount <= table.c.capacity,
                table.c.min_unit <= amount,
                table.c.max_unit >= amount,
                sa.literal(amount) % table.c.step_size == 0,
            )
        )

    def _has_trait(self, names: frozenset[str]) -> sa.ColumnElement[bool]:
        table = tables.provider_traits
        numbers = sorted(self._vocabulary.trait_number(name) for name in names)
        return sa.exists(
            sa.select(table.c.provider_id).where(
                table.c.provider_id == _providers.c.id, table.c.trait_id.in_(numbers)
            )
        )


def _in_aggregate(uuids: frozenset[str]) -> sa.ColumnElement[bool]:
    table = tables.provider_aggregates
    return sa.exists(
        sa.select(table.c.provider_id)
        .join(tables.aggregates, tables.aggregates.c.id == table.c.aggregate_id)
        .where(table.c.provider_id == _providers.c.id, tables.aggregates.c.uuid.in_(sorted(uuids)))
    )
