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
    ("GET", "/images", PROXIES),
    ("GET", "/images/detail", PROXIES),
    ("GET", "/images/{image_id}", PROXIES),
    ("DELETE", "/images/{image_id}", PROXIES),
    ("GET", "/images/{image_id}/metadata", "2.1-2.38"),
    ("POST", "/images/{image_id}/metadata", "2.1-2.38"),
    ("PUT", "/images/{image_id}/metadata", "2.1-2.38"),
    ("GET", "/images/{image_id}/metadata/{key}", "2.1-2.38"),
    ("PUT", "/images/{image_id}/metadata/{key}", "2.1-2.38"),
    ("DELETE", "/images/{image_id}/metadata/{key}", "2.1-2.38"),
    ("GET", "/os-baremetal-nodes", PROXIES),
    ("POST", "/os-baremetal-nodes", PROXIES),
    ("GET", "/os-baremetal-nodes/{node_id}", PROXIES),
    ("DELETE", "/os-baremetal-nodes/{node_id}", PROXIES),
    ("GET", "/os-floating-ip-pools", PROXIES),
    ("GET", "/os-floating-ips", PROXIES),
    ("POST", "/os-floating-ips", PROXIES),
    ("GET", "/os-floating-ips/{floating_ip_id}", PROXIES),
    ("DELETE", "/os-floating-ips/{floating_ip_id}", PROXIES),
    ("GET", "/os-networks", PROXIES),
    ("GET", "/os-networks/{network_id}", PROXIES),
    ("POST", "/os-security-group-rules", PROXIES),
    ("DELETE", "/os-security-group-rules/{rule_id}", PROXIES),
    ("GET", "/os-security-groups", PROXIES),
    ("POST", "/os-security-groups", PROXIES),
    ("GET", "/os-security-groups/{security_group_id}", PROXIES),
    ("PUT", "/os-security-groups/{security_group_id}", PROXIES),
    ("DELETE", "/os-security-groups/{security_group_id}", PROXIES),
    ("GET", "/os-snapshots", PROXIES),
    ("POST", "/os-snapshots", PROXIES),
    ("GET", "/os-snapshots/detail", PROXIES),
    ("GET", "/os-snapshots/{snapshot_id}", PROXIES),
    ("DELETE", "/os-snapshots/{snapshot_id}", PROXIES),
    ("GET", "/os-tenant-networks", PROXIES),
    ("GET", "/os-tenant-networks/{network_id}", PROXIES),
    ("GET", "/os-volumes", PROXIES),
    ("POST", "/os-volumes", PROXIES),
    ("GET", "/os-volumes/detail", PROXIES),
    ("GET", "/os-volumes/{volume_id}", PROXIES),
    ("DELETE", "/os-volumes/{volume_id}", PROXIES),
    ("POST", "/os-aggregates", "2.1-"),
    ("PUT", "/os-aggregates/{aggregate_id}", "2.1-"),
    ("DELETE", "/os-aggregates/{aggregate_id}", "2.1-"),
    ("POST", "/os-aggregates/{aggregate_id}/images", "2.81-"),
    ("POST", "/os-assisted-volume-snapshots", "2.1-"),
    ("DELETE", "/os-assisted-volume-snapshots/{snapshot_id}", "2.1-"),
    ("GET", "/os-console-auth-tokens/{console_token}", "2.1-"),
    ("GET", "/os-hosts", "2.1-2.42"),
    ("GET", "/os-hosts/{host_name}", "2.1-2.42"),
    ("PUT", "/os-hosts/{host_name}", "2.1-2.42"),
    ("GET", "/os-hosts/{host_name}/reboot", "2.1-2.42"),
    ("GET", "/os-hosts/{host_name}/shutdown", "2.1-2.42"),
    ("GET", "/os-hosts/{host_name}/startup", "2.1-2.42"),
    ("GET", "/os-instance_usage_audit_log", "2.1-"),
    ("GET", "/os-instance_usage_audit_log/{before_timestamp}", "2.1-"),
    ("GET", "/os-migrations", "2.1-"),
    ("POST", "/os-server-external-events", "2.1-"),
    ("GET", "/os-server-groups", "2.1-"),
    ("POST", "/os-server-groups", "2.1-"),
    ("GET", "/os-server-groups/{server_group_id}", "2.1-"),
    ("DELETE", "/os-server-groups/{server_group_id}", "2.1-"),
    ("GET", "/os-simple-tenant-usage", "2.1-"),
    ("GET", "/os-simple-tenant-usage/{tenant_id}", "2.1-"),
    ("GET", "/servers/{server_id}/diagnostics", "2.1-"),
    ("GET", "/servers/{server_id}/migrations", "2.23-"),
    ("GET", "/servers/{server_id}/migrations/{migration_id}", "2.23-"),
    ("DELETE", "/servers/{server_id}/migrations/{migration_id}", "2.24-"),
    ("GET", "/servers/{server_id}/os-interface", "2.1-"),
    ("POST", "/servers/{server_id}/os-interface", "2.1-"),
    ("GET", "/servers/{server_id}/os-interface/{port_id}", "2.1-"),
    ("DELETE", "/servers/{server_id}/os-interface/{port_id}", "2.1-"),
    ("GET", "/servers/{server_id}/os-server-password", "2.1-"),
    ("DELETE", "/servers/{server_id}/os-server-password", "2.1-"),
    ("GET", "/servers/{server_id}/os-volume_attachments", "2.1-"),
    ("POST", "/servers/{server_id}/os-volume_attachments", "2.1-"),
    ("GET", "/servers/{server_id}/os-volume_attachments/{volume_id}", "2.1-"),
    ("PUT", "/servers/{server_id}/os-volume_attachments/{volume_id}", "2.1-"),
    ("DELETE", "/servers/{server_id}/os-volume_attachments/{volume_id}", "2.1-"),
    ("POST", "/servers/{server_id}/remote-consoles", "2.6-"),
    ("GET", "/servers/{server_id}/os-security-groups", "2.1-"),
    ("GET", "/servers/{server_id}/shares", "2.97-"),
    ("POST", "/servers/{server_id}/shares", "2.97-"),
    ("GET", "/servers/{server_id}/shares/{share_id}", "2.97-"),
    ("DELETE", "/servers/{server_id}/shares/{share_id}", "2.97-"),
    ("GET", "/servers/{server_id}/topology", "2.78-"),
)

# Path, action, versions.
_SERVER = "/servers/{server_id}/action"
ACTIONS = (
    ("/os-aggregates/{aggregate_id}/action", "add_host", "2.1-"),
    ("/os-aggregates/{aggregate_id}/action", "remove_host", "2.1-"),
    ("/os-aggregates/{aggregate_id}/action", "set_metadata", "2.1-"),
    ("/os-baremetal-nodes/{node_id}/action", "add_interface", PROXIES),
    ("/os-baremetal-nodes/{node_id}/action", "remove_interface", PROXIES),
    ("/servers/{server_id}/migrations/{migration_id}/action", "force_complete", "2.22-"),
    (_SERVER, "confirmResize", "2.1-"),
    (_SERVER, "revertResize", "2.1-"),
    (_SERVER, "resize", "2.1-"),
    (_SERVER, "rebuild", "2.1-"),
    (_SERVER, "createImage", "2.1-"),
    (_SERVER, "trigger_crash_dump", "2.17-"),
    (_SERVER, "injectNetworkInfo", "2.1-"),
    (_SERVER, "os-resetState", "2.1-"),
    (_SERVER, "changePassword", "2.1-"),
    (_SERVER, "createBackup", "2.1-"),
    (_SERVER, "restore", "2.1-"),
    (_SERVER, "evacuate", "2.1-"),
    (_SERVER, "addFloatingIp", "2.1-2.43"),
    (_SERVER, "removeFloatingIp", "2.1-2.43"),
    (_SERVER, "migrate", "2.1-"),
    (_SERVER, "os-migrateLive", "2.1-"),
    (_SERVER, "addFixedIp", "2.1-2.43"),
    (_SERVER, "removeFixedIp", "2.1-2.43"),
    (_SERVER, "pause", "2.1-"),
    (_SERVER, "unpause", "2.1-"),
    (_SERVER, "os-getVNCConsole", "2.1-2.5"),
    (_SERVER, "os-getSPICEConsole", "2.1-2.5"),
    (_SERVER, "os-getRDPConsole", "2.1-2.5"),
    (_SERVER, "os-getSerialConsole", "2.1-2.5"),
    (_SERVER, "rescue", "2.1-"),
    (_SERVER, "unrescue", "2.1-"),
    (_SERVER, "addSecurityGroup", "2.1-"),
    (_SERVER, "removeSecurityGroup", "2.1-"),
    (_SERVER, "shelve", "2.1-"),
    (_SERVER, "shelveOffload", "2.1-"),
    (_SERVER, "unshelve", "2.1-"),
    (_SERVER, "suspend", "2.1-"),
    (_SERVER, "resume", "2.1-"),
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
