"""Every option of every service, for the sample of the configuration file."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

# Modules that make their service's options known when they are imported.
_MODULES = (
    "protonova.gateway.options",
    "protonova.services.api.main",
    "protonova.services.compute.main",
    "protonova.services.conductor.main",
    "protonova.services.placement.main",
    "protonova.services.scheduler.main",
)
# Libraries that bring options of their own; services read them too.
LIBRARIES = ("keystonemiddleware.auth_token", "oslo.policy")


def list_opts() -> Iterator[tuple[str, list[Any]]]:
    """For `oslo-config-generator --namespace protonova`: group → options, by name."""
    from protonova.services.compute.virt import options as drivers
    from protonova.services.runtime import config

    for module in _MODULES:
        importlib.import_module(module)
    merged: dict[str, dict[str, Any]] = {}
    for group, options in (*config.list_opts(), *drivers.GROUPS.items()):
        merged.setdefault(group, {}).update({option.name: option for option in options})
    for group in sorted(merged, key=lambda name: (name != "DEFAULT", name)):
        yield group, list(merged[group].values())
