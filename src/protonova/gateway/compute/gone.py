"""What the API once had and has no more: its routes answer 410 at every version."""

from __future__ import annotations

from typing import NoReturn

from protonova.gateway.faults import Fault
from protonova.gateway.operation import Operation, Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import ANY, Field, Obj
from protonova.gateway.validation import Query
from protonova.gateway.versions import ALWAYS

gone = Resource("gone")

# Method, path, and the action where the path is one for actions.
ROUTES = (
    ("GET", "/os-agents"),
    ("POST", "/os-agents"),
    ("PUT", "/os-agents/{id}"),
    ("DELETE", "/os-agents/{id}"),
    ("GET", "/os-cells"),
    ("POST", "/os-cells"),
    ("GET", "/os-cells/capacities"),
    ("GET", "/os-cells/detail"),
    ("GET", "/os-cells/info"),
    ("POST", "/os-cells/sync_instances"),
    ("GET", "/os-cells/{id}"),
    ("PUT", "/os-cells/{id}"),
    ("DELETE", "/os-cells/{id}"),
    ("GET", "/os-cells/{id}/capacities"),
    ("POST", "/os-certificates"),
    ("GET", "/os-certificates/{id}"),
    ("GET", "/os-cloudpipe"),
    ("POST", "/os-cloudpipe"),
    ("PUT", "/os-cloudpipe/{id}"),
    ("GET", "/os-fixed-ips/{id}"),
    ("POST", "/os-fixed-ips/{id}/action", "reserve"),
    ("POST", "/os-fixed-ips/{id}/action", "unreserve"),
    ("GET", "/os-floating-ip-dns"),
    ("PUT", "/os-floating-ip-dns/{domain}"),
    ("DELETE", "/os-floating-ip-dns/{domain}"),
    ("GET", "/os-floating-ip-dns/{domain}/entries/{name}"),
    ("PUT", "/os-floating-ip-dns/{domain}/entries/{name}"),
    ("DELETE", "/os-floating-ip-dns/{domain}/entries/{name}"),
    ("GET", "/os-floating-ips-bulk"),
    ("POST", "/os-floating-ips-bulk"),
    ("GET", "/os-floating-ips-bulk/{id}"),
    ("PUT", "/os-floating-ips-bulk/{id}"),
    ("GET", "/os-fping"),
    ("GET", "/os-fping/{id}"),
    ("POST", "/os-networks"),
    ("POST", "/os-networks/add"),
    ("DELETE", "/os-networks/{network_id}"),
    ("POST", "/os-networks/{network_id}/action", "disassociate"),
    ("POST", "/os-networks/{network_id}/action", "disassociate_host"),
    ("POST", "/os-networks/{network_id}/action", "disassociate_project"),
    ("POST", "/os-networks/{network_id}/action", "associate_host"),
    ("GET", "/os-security-group-default-rules"),
    ("POST", "/os-security-group-default-rules"),
    ("GET", "/os-security-group-default-rules/{id}"),
    ("DELETE", "/os-security-group-default-rules/{id}"),
    ("POST", "/os-tenant-networks"),
    ("DELETE", "/os-tenant-networks/{network_id}"),
    ("GET", "/servers/{server_id}/consoles"),
    ("POST", "/servers/{server_id}/consoles"),
    ("GET", "/servers/{server_id}/consoles/{console_id}"),
    ("DELETE", "/servers/{server_id}/consoles/{console_id}"),
    ("GET", "/servers/{server_id}/os-virtual-interfaces"),
    ("POST", "/servers/{server_id}/action", "resetNetwork"),
)


def _gone(_: Request) -> NoReturn:
    """Removed for good."""
    raise Fault(410, "This part of the API has been removed.")


for _method, _path, *_rest in ROUTES:
    _action = _rest[0] if _rest else None
    gone.add(
        Operation(
            f"gone.{_method.lower()}{_path}{f'.{_action}' if _action else ''}",
            _method,
            _path,
            _gone,
            ALWAYS,
            action=_action,
            body=Obj(Field(_action, ANY)) if _action else None,
            query=Query(),
            status=410,
        )
    )
