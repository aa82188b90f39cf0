"""Security groups the ports of a server are in."""

from __future__ import annotations

from typing import Any

from protonova.api.v1 import server_device_pb2 as api
from protonova.common.v1.server_device_pb2 import SecurityGroup, SecurityGroupRule
from protonova.gateway.compute.server_actions import PATH
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import (
    INTEGER_OR_NULL,
    KEYSTONE_ID,
    STRING,
    STRING_OR_NULL,
    UUID,
    Arr,
    Field,
    Obj,
    View,
    text,
)

RULES = "os_compute_api:os-security-groups"

groups = Resource("servers.os-security-groups")


def _other_group(rule: SecurityGroupRule, _: Request) -> dict[str, str]:
    if not rule.remote_group_id:
        return {}
    return {"name": rule.remote_group_name, "tenant_id": rule.remote_group_project_id}


def _range(rule: SecurityGroupRule, _: Request) -> dict[str, str]:
    if rule.remote_group_id:
        return {}
    anywhere = "::/0" if rule.ether_type == "IPv6" else "0.0.0.0/0"
    return {"cidr": rule.cidr or anywhere}


def _port(rule: SecurityGroupRule, name: str) -> int | None:
    """A rule for a protocol without ports lets in all of them."""
    if rule.HasField(name):  # type: ignore[arg-type]
        return int(getattr(rule, name))
    if not rule.protocol or rule.protocol.startswith("icmp"):
        return None if not rule.protocol else -1
    return 1 if name == "from_port" else 65535


RULE = View(
    Field("id", UUID, lambda r, _: r[1].id, required=True),
    Field("parent_group_id", UUID, lambda r, _: r[0].id, required=True),
    Field("ip_protocol", STRING_OR_NULL, lambda r, _: r[1].protocol or None, required=True),
    Field("from_port", INTEGER_OR_NULL, lambda r, _: _port(r[1], "from_port"), required=True),
    Field("to_port", INTEGER_OR_NULL, lambda r, _: _port(r[1], "to_port"), required=True),
    Field(
        "group",
        Obj(Field("name", STRING), Field("tenant_id", KEYSTONE_ID)),
        lambda r, q: _other_group(r[1], q),
        required=True,
    ),
    Field("ip_range", Obj(Field("cidr", STRING)), lambda r, q: _range(r[1], q), required=True),
)


def _rules(group: SecurityGroup, request: Request) -> list[dict[str, Any]]:
    return request.show_all(RULE, [(group, rule) for rule in group.rules])


GROUP = View(
    Field("id", UUID, lambda g, _: g.id, required=True),
    Field("name", STRING, lambda g, _: g.name, required=True),
    Field("description", STRING_OR_NULL, lambda g, _: g.description, required=True),
    Field("tenant_id", KEYSTONE_ID, lambda g, _: g.project_id, required=True),
    Field("rules", Arr(RULE), _rules, required=True),
)


@groups.get(
    "/servers/{server_id}/os-security-groups",
    "index",
    policy=f"{RULES}:list",
    answer=Obj(Field("security_groups", Arr(GROUP), required=True)),
)
def index(request: Request) -> dict[str, Any]:
    """List the security groups of a server."""
    asked = api.ListServerSecurityGroupsRequest(server_id=request.args["server_id"])
    found = request.services.devices.ListServerSecurityGroups(asked).groups
    return {"security_groups": request.show_all(GROUP, found)}


def _body(action: str) -> Obj:
    return Obj(Field(action, Obj(Field("name", text(1), required=True)), required=True))


@groups.action(PATH, "addSecurityGroup", policy=f"{RULES}:add", body=_body("addSecurityGroup"), status=202)
def add(request: Request) -> None:
    """Put a server into a security group."""
    request.services.devices.AddServerSecurityGroup(
        api.AddServerSecurityGroupRequest(
            server_id=request.args["server_id"], security_group=request.body["addSecurityGroup"]["name"]
        )
    )


@groups.action(
    PATH, "removeSecurityGroup", policy=f"{RULES}:remove", body=_body("removeSecurityGroup"), status=202
)
def remove(request: Request) -> None:
    """Take a server out of a security group."""
    request.services.devices.RemoveServerSecurityGroup(
        api.RemoveServerSecurityGroupRequest(
            server_id=request.args["server_id"], security_group=request.body["removeSecurityGroup"]["name"]
        )
    )
