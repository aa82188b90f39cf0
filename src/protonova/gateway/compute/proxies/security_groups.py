"""Security groups and the rules for what they let in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from protonova.common.v1.server_device_pb2 import SecurityGroup
from protonova.gateway.compute.proxies import LAST
from protonova.gateway.compute.proxies.asking import network, page
from protonova.gateway.compute.server_security_groups import GROUP, RULE, RULES
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import (
    ANY,
    NON_NEGATIVE,
    STRING,
    UUID,
    UUID_OR_NULL,
    Arr,
    Field,
    Obj,
    text,
    truth,
)
from protonova.gateway.validation import Query, is_uuid
from protonova.services.runtime import errors

PATH = "/os-security-groups"
ONE_PATH = PATH + "/{security_group_id}"

groups = Resource("os-security-groups")
rules = Resource("os-security-group-rules")

ONE = Obj(Field("security_group", GROUP, required=True))
BODY = Obj(
    Field(
        "security_group",
        Obj(
            Field("name", text(0, 255), required=True),
            Field("description", text(0, 255), required=True),
            extra=True,
        ),
        required=True,
    )
)
RULE_BODY = Obj(
    Field(
        "security_group_rule",
        Obj(
            Field("group_id", UUID_OR_NULL),
            Field("parent_group_id", UUID, required=True),
            Field("to_port", ANY),
            Field("from_port", ANY),
            Field("ip_protocol", ANY),
            Field("cidr", ANY),
            extra=True,
        ),
        required=True,
    )
)
_PROTOCOLS = ("tcp", "udp", "icmp")


def _messages(request: Request, found: Iterable[dict[str, Any]]) -> list[SecurityGroup]:
    """As the shared view wants them, with the names of the groups that rules speak of."""
    bodies = list(found)
    known = {body["id"]: body for body in bodies}
    spoken = {rule.get("remote_group_id") for body in bodies for rule in body["security_group_rules"]}
    missing = sorted(spoken - {None} - set(known))
    if missing:
        more = network(request).get("/security-groups", {"id": missing})["security_groups"]
        known |= {body["id"]: body for body in more}
    return [_message(body, known) for body in bodies]


def _message(body: dict[str, Any], known: dict[str, dict[str, Any]]) -> SecurityGroup:
    group = SecurityGroup(
        id=body["id"],
        name=body["name"],
        description=body.get("description") or "",
        project_id=body.get("project_id") or "",
    )
    for rule in body["security_group_rules"]:
        if rule["direction"] != "ingress":
            continue
        other = known.get(rule.get("remote_group_id") or "", {})
        shown = group.rules.add(
            id=rule["id"],
            protocol=str(rule.get("protocol") or ""),
            cidr=rule.get("remote_ip_prefix") or "",
            remote_group_id=rule.get("remote_group_id") or "",
            remote_group_name=other.get("name", ""),
            remote_group_project_id=other.get("project_id", ""),
            ether_type=rule.get("ethertype") or "IPv4",
        )
        for field, name in (("from_port", "port_range_min"), ("to_port", "port_range_max")):
            if rule.get(name) is not None:
                setattr(shown, field, rule[name])
    return group


def _shown(request: Request, body: dict[str, Any]) -> dict[str, Any]:
    return {"security_group": request.show(GROUP, _messages(request, [body])[0])}


def _path(request: Request) -> str:
    wanted = request.args["security_group_id"]
    if not is_uuid(wanted):
        raise Fault(400, f"'{wanted}' is not the id of a security group.")
    return f"/security-groups/{wanted}"


@groups.get(
    PATH,
    "index",
    until=LAST,
    policy=f"{RULES}:get",
    query=Query(Field("limit", NON_NEGATIVE), Field("offset", NON_NEGATIVE), Field("all_tenants", STRING)),
    answer=Obj(Field("security_groups", Arr(GROUP), required=True)),
)
def index(request: Request) -> dict[str, Any]:
    """List security groups."""
    everybodys = request.context.is_admin and truth(request.last("all_tenants", "0"))
    query = None if everybodys else {"project_id": request.project_id}
    found = network(request).get("/security-groups", query)["security_groups"]
    found.sort(key=lambda body: (body.get("project_id") or "", body["name"], body["id"]))
    return {"security_groups": request.show_all(GROUP, _messages(request, page(request, found)))}


@groups.get(ONE_PATH, "show", until=LAST, policy=f"{RULES}:show", query=Query(), answer=ONE)
def show(request: Request) -> dict[str, Any]:
    """Show a security group."""
    return _shown(request, network(request).get(_path(request))["security_group"])


def _given(request: Request) -> dict[str, Any]:
    body = request.body["security_group"]
    if not body["name"].strip():
        raise Fault(400, "security_group.name: a security group needs a name.")
    return {"security_group": {"name": body["name"], "description": body["description"]}}


@groups.post(PATH, until=LAST, policy=f"{RULES}:create", body=BODY, answer=ONE)
def create(request: Request) -> dict[str, Any]:
    """Make a security group."""
    return _shown(request, network(request).post("/security-groups", _given(request))["security_group"])


@groups.put(ONE_PATH, until=LAST, policy=f"{RULES}:update", body=BODY, answer=ONE)
def update(request: Request) -> dict[str, Any]:
    """Change the name and description of a security group."""
    try:
        return _shown(request, network(request).put(_path(request), _given(request))["security_group"])
    except errors.FailedPrecondition as error:
        raise Fault(400, error.message) from error


@groups.delete(ONE_PATH, until=LAST, policy=f"{RULES}:delete", status=202)
def delete(request: Request) -> None:
    """Remove a security group."""
    path = _path(request)
    network(request).get(path)
    try:
        network(request).delete(path)
    except errors.FailedPrecondition as error:
        raise Fault(400, error.message) from error


@rules.post(
    "/os-security-group-rules",
    until=LAST,
    policy=f"{RULES}:rule:create",
    body=RULE_BODY,
    answer=Obj(Field("security_group_rule", RULE, required=True)),
)
def create_rule(request: Request) -> dict[str, Any]:
    """Let something into a security group."""
    body = request.body["security_group_rule"]
    client = network(request)
    parent = client.get(f"/security-groups/{body['parent_group_id']}")["security_group"]
    wanted: dict[str, Any] = {"security_group_id": parent["id"], "direction": "ingress", **_ports(body)}
    if body.get("group_id"):
        wanted["remote_group_id"] = body["group_id"]
    else:
        wanted["remote_ip_prefix"] = str(body.get("cidr") or "0.0.0.0/0")
        wanted["ethertype"] = "IPv6" if ":" in wanted["remote_ip_prefix"] else "IPv4"
    try:
        made = client.post("/security-group-rules", {"security_group_rule": wanted})["security_group_rule"]
    except errors.FailedPrecondition as error:
        raise Fault(400, error.message) from error
    (group,) = _messages(request, [{**parent, "security_group_rules": [made]}])
    return {"security_group_rule": request.show(RULE, (group, group.rules[0]))}


def _ports(body: dict[str, Any]) -> dict[str, Any]:
    """The protocol and its ports; of ICMP the ports are type and code, and -1 is any."""
    protocol = str(body.get("ip_protocol") or "").lower()
    if not protocol and body.get("group_id"):
        return {}
    if protocol not in _PROTOCOLS:
        raise Fault(
            400, f"security_group_rule.ip_protocol: '{protocol}' is not one of {', '.join(_PROTOCOLS)}."
        )
    ports: list[int | None] = []
    for name in ("from_port", "to_port"):
        try:
            port = int(body.get(name, -1))
        except (TypeError, ValueError):
            raise Fault(400, f"security_group_rule.{name}: {body.get(name)!r} is not a number.") from None
        least = -1 if protocol == "icmp" or body.get("group_id") else 1
        if not least <= port <= (255 if protocol == "icmp" else 65535):
            raise Fault(400, f"security_group_rule.{name}: {port} is not possible for {protocol}.")
        ports.append(None if port == -1 else port)
    first, last = ports
    if protocol != "icmp" and first is not None and last is not None and first > last:
        raise Fault(400, "security_group_rule.from_port: it is greater than to_port.")
    return {"protocol": protocol, "port_range_min": first, "port_range_max": last}


@rules.delete("/os-security-group-rules/{rule_id}", until=LAST, policy=f"{RULES}:rule:delete", status=202)
def delete_rule(request: Request) -> None:
    """Take a rule from its security group."""
    wanted = request.args["rule_id"]
    if not is_uuid(wanted):
        raise Fault(400, f"'{wanted}' is not the id of a rule.")
    client = network(request)
    client.get(f"/security-group-rules/{wanted}")
    client.delete(f"/security-group-rules/{wanted}")
