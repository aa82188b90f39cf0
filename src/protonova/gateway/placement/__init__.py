"""The Placement API, 1.0 to 1.39: one module a resource. ``RESOURCES`` is all of it."""

from __future__ import annotations

from protonova.gateway.placement import (
    allocations,
    candidates,
    inventories,
    provider_details,
    providers,
    resource_classes,
    root,
    traits,
    usages,
)

RESOURCES = (
    root.root,
    providers.providers,
    inventories.inventories,
    provider_details.details,
    resource_classes.classes,
    traits.traits,
    allocations.allocations,
    allocations.reshaper,
    usages.usages,
    candidates.candidates,
)
