"""The image's disk format, as a trait of hosts that take it. A server that boots from a volume has no image on the
host."""

from __future__ import annotations

from protonova.services.scheduler.request_filters.query import Query


def image_type(query: Query) -> None:
    if not query.conf.scheduler.query_placement_for_image_type_support or query.spec.boots_from_volume:
        return
    if query.spec.image.disk_format:
        query.root_traits.add(f"COMPUTE_IMAGE_TYPE_{query.spec.image.disk_format.upper()}")
