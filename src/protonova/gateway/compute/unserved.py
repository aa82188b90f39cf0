"""What the API defines and this gateway does not serve yet: answered by an honest 501 in the version it exists.

A row leaves this table when its resource gets a module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from protonova.gateway.faults import Fault
from protonova.gateway.operation import Operation, Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import ANY, Field, Obj
from protonova.gateway.validation import Query
from protonova.gateway.versions import Window

unserved = Resource("unserved")

# Proxies for other services: old clients only, refused since 2.36 (image metadata since 2.39).
PROXIES = "2.1-2.35"

ROUTES = (
    ("GET", "/os-baremetal-nodes", PROXIES),
    ("POST", "/os-baremetal-nodes", PROXIES),
    ("GET", "/os-baremetal-nodes/{node_id}", PROXIES),
    ("DELETE", "/os-baremetal-nodes/{node_id}", PROXIES),
    ("POST", "/os-assisted-volume-snapshots", "2.1-"),
    ("DELETE", "/os-assisted-volume-snapshots/{snapshot_id}", "2.1-"),
    ("GET", "/os-hosts", "2.1-2.42"),
    ("GET", "/os-hosts/{host_name}", "2.1-2.42"),
    ("PUT", "/os-hosts/{host_name}", "2.1-2.42"),
    ("GET", "/os-hosts/{host_name}/reboot", "2.1-2.42"),
    ("GET", "/os-hosts/{host_name}/shutdown", "2.1-2.42"),
    ("GET", "/os-hosts/{host_name}/startup", "2.1-2.42"),
    ("GET", "/servers/{server_id}/shares", "2.97-"),
    ("POST", "/servers/{server_id}/shares", "2.97-"),
    ("GET", "/servers/{server_id}/shares/{share_id}", "2.97-"),
    ("DELETE", "/servers/{server_id}/shares/{share_id}", "2.97-"),
)

# Path, action, versions.
_SERVER = "/servers/{server_id}/action"
ACTIONS = (
    ("/os-baremetal-nodes/{node_id}/action", "add_interface", PROXIES),
    ("/os-baremetal-nodes/{node_id}/action", "remove_interface", PROXIES),
)


def _refuse(what: str) -> Callable[[Request], NoReturn]:
    def refuse(_: Request) -> NoReturn:
        raise Fault(501, f"{what} is not implemented.")

    refuse.__doc__ = "Not served yet."
    return refuse


for _method, _path, _versions in ROUTES:
    _name = f"{_method} {_path}"
    unserved.add(
        Operation(
            f"unserved.{_name}",
            _method,
            _path,
            _refuse(_name),
            Window.parse(_versions),
            query=Query(),
            status=501,
        )
    )
for _path, _action, _versions in ACTIONS:
    unserved.add(
        Operation(
            f"unserved.{_path}.{_action}",
            "POST",
            _path,
            _refuse(f"The action '{_action}'"),
            Window.parse(_versions),
            action=_action,
            body=Obj(Field(_action, ANY)),
            query=Query(),
            status=501,
        )
    )
