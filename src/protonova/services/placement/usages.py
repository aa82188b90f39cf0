"""Who holds what: reads of allocations, by consumer, by provider, by project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.placement import rows, tables
from protonova.services.placement.names import Vocabulary
from protonova.services.runtime.database import Database

_allocations = tables.allocations
_consumers = tables.consumers
_providers = tables.resource_providers

UNKNOWN_TYPE = "unknown"
ALL_TYPES = "all"


@dataclass(slots=True)
class Held:
    """What a consumer holds, by provider and class; `generations` are those of the providers."""

    consumer_id: str
    generation: int = 0
    project_id: str = ""
    user_id: str = ""
    type: str = ""
    updated_at: int = 0
    providers: dict[str, dict[str, int]] = field(default_factory=dict)
    generations: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class UsageGroup:
    """What consumers of one type hold together."""

    type: str
    consumers: int = 0
    resources: dict[str, int] = field(default_factory=dict)


class Usages:
    """Reads them."""

    def __init__(self, db: Database, vocabulary: Vocabulary) -> None:
        self._db = db
        self._vocabulary = vocabulary

    def of_consumer(self, consumer_id: str) -> Held:
        """Empty when the consumer is not known."""
        query = (
            sa.select(
                _consumers,
                _providers.c.uuid.label("provider"),
                _providers.c.generation.label("provider_generation"),
                _allocations.c.resource_class_id,
                _allocations.c.used,
            )
            .join(_allocations, _allocations.c.consumer_id == _consumers.c.id)
            .join(_providers, _providers.c.id == _allocations.c.provider_id)
            .where(_consumers.c.uuid == consumer_id)
        )
        found = Held(consumer_id)
        for row in self._db.read(lambda connection: connection.execute(query).all()):
            found.generation = row.generation
            found.project_id, found.user_id, found.type = row.project_id, row.user_id, row.type
            found.updated_at = row.updated_at
            name = self._vocabulary.class_name(row.resource_class_id)
            found.providers.setdefault(row.provider, {})[name] = row.used
            found.generations[row.provider] = row.provider_generation
        return found

    def of_provider(self, provider_id: str) -> tuple[int, list[tuple[str, int, dict[str, int]]]]:
        """The provider's generation; of each consumer its id, generation and amounts. Raises
        PROVIDER_NOT_FOUND."""

        def read(connection: Connection) -> tuple[int, Mapping[str, tuple[str, int, dict[str, int]]]]:
            row = rows.get(connection, provider_id)
            found: dict[str, tuple[str, int, dict[str, int]]] = {}
            for uuid, generation, number, used in connection.execute(
                sa.select(
                    _consumers.c.uuid,
                    _consumers.c.generation,
                    _allocations.c.resource_class_id,
                    _allocations.c.used,
                )
                .join(_consumers, _consumers.c.id == _allocations.c.consumer_id)
                .where(_allocations.c.provider_id == row.id)
                .order_by(_consumers.c.id)
            ):
                amounts = found.setdefault(uuid, (uuid, generation, {}))[2]
                amounts[self._vocabulary.class_name(number)] = used
            return row.generation, found

        generation, found = self._db.read(read)
        return generation, list(found.values())

    def of_project(self, project_id: str, user_id: str, type_: str) -> list[UsageGroup]:
        """`type_` names one type, "unknown" or "all" (one sum); empty = a group for each type."""
        conditions = [_consumers.c.project_id == project_id]
        if user_id:
            conditions.append(_consumers.c.user_id == user_id)
        if type_ and type_ != ALL_TYPES:
            conditions.append(_consumers.c.type == ("" if type_ == UNKNOWN_TYPE else type_))
        counts = sa.select(_consumers.c.type, sa.func.count()).where(*conditions).group_by(_consumers.c.type)
        sums = (
            sa.select(_consumers.c.type, _allocations.c.resource_class_id, sa.func.sum(_allocations.c.used))
            .join(_allocations, _allocations.c.consumer_id == _consumers.c.id)
            .where(*conditions)
            .group_by(_consumers.c.type, _allocations.c.resource_class_id)
        )
        found: dict[str, UsageGroup] = {}

        def group(name: str) -> UsageGroup:
            shown = ALL_TYPES if type_ == ALL_TYPES else name or UNKNOWN_TYPE
            return found.setdefault(shown, UsageGroup(shown))

        counted, summed = self._db.read(
            lambda connection: (connection.execute(counts).all(), connection.execute(sums).all())
        )
        for name, count in counted:
            group(name).consumers += count
        for name, number, used in summed:
            resources = group(name).resources
            resource_class = self._vocabulary.class_name(number)
            resources[resource_class] = resources.get(resource_class, 0) + int(used)
        return [found[name] for name in sorted(found)]
