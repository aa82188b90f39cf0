"""/os-volumes_boot: the servers under another name, until 2.102."""

from __future__ import annotations

from dataclasses import replace

from protonova.gateway.compute.server_actions import actions
from protonova.gateway.compute.servers import servers
from protonova.gateway.compute.unserved import unserved
from protonova.gateway.operation import Operation, Resource
from protonova.gateway.versions import Window

volumes_boot = Resource("os-volumes_boot")

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


def _shared(operation: Operation) -> bool:
    if operation.action is not None:
        return operation.path == "/servers/{server_id}/action" and operation.action in _ACTIONS
    return operation.path in ("/servers", "/servers/detail", "/servers/{server_id}")


for _operation in (*servers.operations, *actions.operations, *unserved.operations):
    if _shared(_operation):
        volumes_boot.add(
            replace(
                _operation,
                id=f"os-volumes_boot.{_operation.id}",
                path=_operation.path.replace("/servers", "/os-volumes_boot"),
                window=Window(tuple((first, min(last, _LAST)) for first, last in _operation.window.ranges)),
            )
        )
