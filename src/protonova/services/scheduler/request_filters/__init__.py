"""Request filters: what placement is asked besides resources, so that it leaves hosts out before they are looked
at. Each is a function over a request's `Query`; those that an operator switches on ask their option first.

They are pure: the same request, aggregates and options always make the same query.
"""

from __future__ import annotations

from protonova.services.scheduler.request_filters.guest_features import (
    accelerators,
    ephemeral_encryption,
    packed_virtqueue,
    tpm_secret_security,
    virtio_sound,
)
from protonova.services.scheduler.request_filters.image_metadata import image_metadata
from protonova.services.scheduler.request_filters.image_type import image_type
from protonova.services.scheduler.request_filters.isolation import isolated_aggregates
from protonova.services.scheduler.request_filters.query import Query
from protonova.services.scheduler.request_filters.tenants import tenant_aggregates
from protonova.services.scheduler.request_filters.zone import zone_aggregates

REQUEST_FILTERS = (
    tenant_aggregates,
    zone_aggregates,
    image_type,
    isolated_aggregates,
    image_metadata,
    accelerators,
    packed_virtqueue,
    ephemeral_encryption,
    virtio_sound,
    tpm_secret_security,
)

__all__ = ["REQUEST_FILTERS", "Query", "narrow"]


def narrow(query: Query) -> Query:
    """Lets every request filter say its part. Raises AGGREGATE_NOT_FOUND where no host can be right."""
    for each in REQUEST_FILTERS:
        each(query)
    return query
