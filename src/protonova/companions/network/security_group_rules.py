"""Rules of security groups. A rule exists once in its group and does not change."""

import ipaddress
import sqlite3
from typing import Any

from flask import Response

from protonova.companions import store, web
from protonova.companions.caller import caller
from protonova.companions.fault import Fault, bad, conflict
from protonova.companions.network import quotas, values
from protonova.companions.network.fault import invalid
from protonova.companions.network.resource import REQUIRED, Attribute, Kind, born
from protonova.companions.network.routes import (
    blueprint,
    created,
    listed,
    mine,
    one,
    owned,
    read,
    write,
    writer,
)

_PROTOCOLS = {
    "ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "hopopt": 0, "icmp": 1, "icmpv6": 58, "igmp": 2,
    "ipip": 4, "ipv6-encap": 41, "ipv6-frag": 44, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60,
    "ipv6-route": 43, "ospf": 89, "pgm": 113, "rsvp": 46, "sctp": 132, "tcp": 6, "udp": 17, "udplite": 136,
    "vrrp": 112,
}  # fmt: skip
_WITH_PORTS = {"tcp", "udp", "sctp", "dccp", "udplite", "6", "17", "132", "33", "136"}
_ICMP = {"icmp", "icmpv6", "ipv6-icmp", "1", "58"}


def _protocol(name: str, value: Any) -> str | None:
    """A name, or a number as text; `any` and nothing are the same."""
    text = str(value).lower()
    if value is None or text in ("any", ""):
        return None
    if isinstance(value, bool) or not (
        text in _PROTOCOLS or (text.isdigit() and len(text) <= 3 and int(text) < 256)
    ):
        known = ", ".join(sorted(_PROTOCOLS))
        message = f"'{name}' must be a number from 0 to 255 or one of {known}."
        raise bad(message, "SecurityGroupRuleInvalidProtocol")
    return text


def _ethertype(name: str, value: Any) -> str:
    for known in ("IPv4", "IPv6"):
        if isinstance(value, str) and value.lower() == known.lower():
            return known
    raise bad(f"'{name}' must be IPv4 or IPv6.", "SecurityGroupRuleInvalidEtherType")


def _port(name: str, value: Any) -> int | None:
    if value is None:
        return None
    try:
        return int(values.integer(-1, 65535)(name, value))
    except Fault as error:
        raise invalid(f"Invalid value for port {value}: {name} lies between 0 and 65535") from error


RULE = Kind(
    "security_group_rule",
    "security_group_rules",
    "SecurityGroupRule",
    {
        "security_group_id": Attribute(values.uuid, REQUIRED, update=False),
        "direction": Attribute(values.choice("ingress", "egress"), REQUIRED, update=False),
        "ethertype": Attribute(_ethertype, "IPv4", update=False),
        "protocol": Attribute(_protocol, None, update=False),
        "port_range_min": Attribute(_port, None, update=False),
        "port_range_max": Attribute(_port, None, update=False),
        "remote_ip_prefix": Attribute(values.null_or(values.ip_or_cidr), None, update=False),
        "remote_group_id": Attribute(values.null_or(values.text()), None, update=False),
        "remote_address_group_id": Attribute(values.null_or(values.uuid), None, update=False, kept=False),
    },
    documents=frozenset(("tags",)),
)


def view(_: sqlite3.Connection, row: store.Row) -> dict[str, Any]:
    body = RULE.loaded(row)
    del body["name"]
    prefix = row["remote_ip_prefix"]
    body["normalized_cidr"] = str(ipaddress.ip_network(prefix, strict=False)) if prefix else None
    return body


def _judge(entry: dict[str, Any]) -> None:
    """Whether the parts of a rule fit each other."""
    low, high, protocol = entry["port_range_min"], entry["port_range_max"], entry["protocol"]
    if entry.pop("remote_address_group_id"):
        raise bad("Address groups are not supported here.")
    if entry["remote_ip_prefix"] and entry["remote_group_id"]:
        raise bad(
            "Only one of remote_ip_prefix and remote_group_id may be given.",
            "SecurityGroupMultipleRemoteEntityDefined",
        )
    if entry["remote_ip_prefix"]:
        version = ipaddress.ip_network(entry["remote_ip_prefix"], strict=False).version
        if entry["ethertype"] != f"IPv{version}":
            raise bad(
                f"Conflicting value ethertype {entry['ethertype']} for {entry['remote_ip_prefix']}.",
                "SecurityGroupRuleParameterConflict",
            )
    if protocol in ("icmpv6", "ipv6-icmp", "58") and entry["ethertype"] == "IPv4":
        raise bad(f"Protocol {protocol} needs ethertype IPv6.", "SecurityGroupEthertypeConflictWithProtocol")
    if low is None and high is None:
        return
    if protocol in _ICMP:
        if low is None:
            raise bad(
                "ICMP type (port-range-min) is missing; a code needs one.", "SecurityGroupMissingIcmpType"
            )
        for value, what in ((low, "type"), (high, "code")):
            if value is not None and not 0 <= value <= 255:
                message = f"Invalid value for ICMP {what} {value}: it lies between 0 and 255."
                raise bad(message, "SecurityGroupInvalidIcmpValue")
    elif protocol in _WITH_PORTS:
        if low is None or high is None or not 0 <= low <= high:
            raise bad(
                "For this protocol port_range_min must be <= port_range_max.", "SecurityGroupInvalidPortRange"
            )
    elif (low, high) != (-1, -1):
        raise bad(
            "A range of ports needs a protocol that has ports.", "SecurityGroupProtocolRequiredWithPorts"
        )


_TELLING = ("direction", "ethertype", "protocol", "port_range_min", "port_range_max", "remote_group_id")


def _same(db: sqlite3.Connection, entry: dict[str, Any]) -> store.Row | None:
    where = store.Where(security_group_id=entry["security_group_id"])
    for name in _TELLING:
        where.equals(name, entry[name])
    prefix = _prefix(entry)
    return next((row for row in store.select(db, RULE.plural, where) if _prefix(row) == prefix), None)


def _prefix(rule: dict[str, Any]) -> Any:
    """Every address is the same as no prefix."""
    if not rule["remote_ip_prefix"]:
        return None
    network = ipaddress.ip_network(rule["remote_ip_prefix"], strict=False)
    return network if network.prefixlen else None


@blueprint.get("/v2.0/security-group-rules")
def list_rules() -> Response:
    who = caller()
    return listed(RULE, who, owned(who), view)


@blueprint.get("/v2.0/security-group-rules/<ident>")
def show_rule(ident: str) -> Response:
    who = caller()
    return one(RULE, who, read(lambda db: view(db, mine(db, RULE, who, ident))))


@blueprint.post("/v2.0/security-group-rules")
def create_rule() -> Response:
    who = writer()
    wanted, bulk = RULE.requested(who)
    for entry in wanted:
        _judge(entry)

    def work(db: sqlite3.Connection) -> list[dict[str, Any]]:
        bodies = []
        for entry in wanted:
            group = _group(db, who, entry["security_group_id"])
            if entry["remote_group_id"] is not None:
                _group(db, who, entry["remote_group_id"])
            existing = _same(db, entry)
            if existing:
                raise conflict(
                    f"Security group rule already exists. Rule id is {existing['id']}.",
                    "SecurityGroupRuleExists",
                )
            entry["project_id"] = group["project_id"]
            quotas.charge(db, RULE.singular, entry["project_id"])
            row = RULE.stored({**born(), **entry})
            store.insert(db, RULE.plural, row)
            bodies.append(view(db, row))
        return bodies

    return created(RULE, who, write(work), bulk)


def _group(db: sqlite3.Connection, who: Any, ident: str) -> store.Row:
    row = store.find(db, "security_groups", id=ident)
    if row is None or not (who.is_privileged or row["project_id"] == who.project_id):
        raise Fault(404, f"Security group {ident} does not exist", "SecurityGroupNotFound")
    return row


@blueprint.delete("/v2.0/security-group-rules/<ident>")
def delete_rule(ident: str) -> Response:
    who = writer()

    def work(db: sqlite3.Connection) -> None:
        mine(db, RULE, who, ident)
        store.delete(db, RULE.plural, id=ident)

    write(work)
    return web.empty()
