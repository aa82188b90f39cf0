"""Aggregates for certain projects: those whose metadata name a project under keys that begin with
`filter_tenant_id`. A project that is named anywhere goes to such aggregates only; one that is not goes anywhere,
or nowhere where the operator wants it so.
"""

from __future__ import annotations

from protonova.services.runtime import errors
from protonova.services.scheduler.aggregates import Aggregate
from protonova.services.scheduler.request_filters.query import Query

_PREFIX = "filter_tenant_id"


def tenant_aggregates(query: Query) -> None:
    """Raises AGGREGATE_NOT_FOUND."""
    own = query.conf.scheduler
    if not own.limit_tenants_to_placement_aggregate or query.spec.skip_filters:
        return
    project = query.spec.project_id
    named = sorted(one.aggregate_id for one in query.aggregates if _names(one, project))
    if named:
        query.member_of.append(named)
    elif own.placement_aggregate_required_for_tenants:
        raise errors.NotFound(
            f"No aggregate is for project {project}.", reason="AGGREGATE_NOT_FOUND", project_id=project
        )


def _names(aggregate: Aggregate, project: str) -> bool:
    return any(
        key.startswith(_PREFIX) and project in [part.strip() for part in value.split(",")]
        for key, value in aggregate.metadata.items()
    )
