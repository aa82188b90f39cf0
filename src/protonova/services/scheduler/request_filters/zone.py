"""The requested zone, where aggregates make it: only their hosts are asked for.

A zone that agents declare is not known to placement; it is judged by the hosts' column, as every zone is once more.
A host that an administrator forces is taken whatever its zone.
"""

from __future__ import annotations

from protonova.services.scheduler.aggregates import ZONE_KEY
from protonova.services.scheduler.request_filters.query import Query


def zone_aggregates(query: Query) -> None:
    zone = query.spec.availability_zone
    if not zone or query.spec.skip_filters or not query.zone_by_aggregates:
        return
    named = sorted(one.aggregate_id for one in query.aggregates if one.metadata.get(ZONE_KEY) == zone)
    if named:
        query.member_of.append(named)
