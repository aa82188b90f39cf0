"""What the API defines and this gateway does not serve yet: answered by an honest 501 in the version it exists.

A row leaves this table when its resource gets a module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from protonova.gateway.faults import Fault
from protonova.gateway.operation import Operation, Resource
from protonova.gateway.request import Request
from protonova.gateway.validation import Query
from protonova.gateway.versions import Window

unserved = Resource("unserved")

ROUTES = (
    ("GET", "/servers/{server_id}/shares", "2.97-"),
    ("POST", "/servers/{server_id}/shares", "2.97-"),
    ("GET", "/servers/{server_id}/shares/{share_id}", "2.97-"),
    ("DELETE", "/servers/{server_id}/shares/{share_id}", "2.97-"),
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
