"""What a guest is called at the hypervisor.

Its cell has named it, but a cell knows nothing of what else runs under the same daemon, where a name is given once
only. Where another guest has it, ours gets a piece of its id added; a guest that is defined keeps the name it has.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import libvirt

from protonova.services.compute.virt.driver import GuestSpec

from .layout import Layout

_NOBODY = libvirt.VIR_ERR_NO_DOMAIN


def free(connection: Any, spec: GuestSpec) -> str:
    """The name for a guest to be defined."""
    there = _find(connection.lookupByUUIDString, spec.server_id)
    if there is not None:
        return str(there.name())
    taken = _find(connection.lookupByName, spec.name)
    if taken is None or taken.UUIDString() == spec.server_id:
        return spec.name
    return f"{spec.name}-{spec.server_id.partition('-')[0]}"


def renamed(layout: Layout, name: str) -> Layout:
    return dataclasses.replace(layout, spec=dataclasses.replace(layout.spec, name=name))


def _find(lookup: Any, what: str) -> Any:
    try:
        return lookup(what)
    except libvirt.libvirtError as error:
        if error.get_error_code() != _NOBODY:
            raise
        return None
