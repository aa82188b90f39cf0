"""Aggregates that are for those who ask for them: `trait:NAME=required` in their metadata keeps out every request
whose flavor and image do not require all these traits."""

from __future__ import annotations

from protonova.services.scheduler.aggregates import Aggregate
from protonova.services.scheduler.request_filters.query import Query

_PREFIX = "trait:"


def isolated_aggregates(query: Query) -> None:
    if not query.conf.scheduler.enable_isolated_aggregate_filtering or query.spec.skip_filters:
        return
    for aggregate in query.aggregates:
        if not all(query.asks_trait(name) for name in _wanted(aggregate)):
            query.forbidden_aggregates.add(aggregate.aggregate_id)


def _wanted(aggregate: Aggregate) -> list[str]:
    return [
        key.removeprefix(_PREFIX)
        for key, value in aggregate.metadata.items()
        if key.startswith(_PREFIX) and value == "required"
    ]
