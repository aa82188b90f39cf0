"""The options every process knows, one module per topic; a service's own are registered by the service."""

from __future__ import annotations

from collections.abc import Iterator

from oslo_config import cfg

from protonova.services.runtime.options import base, console, openstack, pci, quota, rpc, service


def groups() -> Iterator[tuple[str, list[cfg.Opt]]]:
    """(group, options), a group possibly more than once."""
    for module in (base, rpc, service, openstack, quota, console, pci):
        yield from module.OPTIONS.items()
