"""/os-volumes_boot: the servers under another name, until 2.102."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from protonova.gateway.operation import Operation, Resource
from protonova.gateway.versions import Window

_ACTIONS = frozenset(
    (
        "confirmResize",
        "revertResize",
        "reboot",
        "resize",
        "rebuild",
        "createImage",
        "os-start",
        "os-stop",
        "trigger_crash_dump",
    )
)
_LAST = 102


def volumes_boot(resources: Iterable[Resource]) -> Resource:
    """What these resources do to servers, as far as it can be done under the other name."""
    shared = Resource("os-volumes_boot")
    for operation in (each for resource in resources for each in resource.operations if _shared(each)):
        ranges = operation.window.ranges
        shared.add(
            replace(
                operation,
                id=f"os-volumes_boot.{operation.id}",
                path=operation.path.replace("/servers", "/os-volumes_boot"),
                window=Window(tuple((first, min(last, _LAST)) for first, last in ranges if first <= _LAST)),
            )
        )
    return shared


def _shared(operation: Operation) -> bool:
    if operation.action is not None:
        return operation.path == "/servers/{server_id}/action" and operation.action in _ACTIONS
    return operation.path in ("/servers", "/servers/detail", "/servers/{server_id}")
