"""Security groups. Every project has one called default, made when it is first looked for."""

import sqlite3
from typing import Any

from flask import Response

from protonova.companions import store, web
from protonova.companions.caller import caller
from protonova.companions.fault import conflict
from protonova.companions.network import quotas, values
from protonova.companions.network.resource import Attribute, Kind, born, touched
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
from protonova.companions.network.security_group_rules import RULE
from protonova.companions.network.security_group_rules import view as rule_view

DEFAULT = "default"

GROUP = Kind(
    "security_group",
    "security_groups",
    "SecurityGroup",
    {"stateful": Attribute(values.flag, True)},
    flags=frozenset(("stateful", "is_default")),
    documents=frozenset(("tags",)),
)


def view(db: sqlite3.Connection, row: store.Row) -> dict[str, Any]:
    body = GROUP.loaded(row)
    rules = store.select(
        db, "security_group_rules", store.Where(security_group_id=row["id"]), "ORDER BY created_at, id"
    )
    body["security_group_rules"] = [rule_view(db, rule) for rule in rules]
    body["shared"] = False
    return body


def default_of(db: sqlite3.Connection, project_id: str) -> str:
    """The id of the project's default group; it is made if there is none yet."""
    row = db.execute(
        "SELECT id FROM security_groups WHERE project_id = ? AND is_default", (project_id,)
    ).fetchone()
    if row is None:
        row = _make(
            db,
            {
                "project_id": project_id,
                "name": DEFAULT,
                "description": "Default security group",
                "stateful": True,
            },
            is_default=True,
        )
        for ethertype in ("IPv4", "IPv6"):
            _open(db, row, "ingress", ethertype, row["id"])
    ident: str = row["id"]
    return ident


def _make(db: sqlite3.Connection, entry: dict[str, Any], *, is_default: bool = False) -> store.Row:
    row = GROUP.stored({**born(), "tags": [], **entry, "is_default": is_default})
    store.insert(db, "security_groups", row)
    for ethertype in ("IPv4", "IPv6"):
        _open(db, row, "egress", ethertype, None)
    return row


def _open(
    db: sqlite3.Connection, group: store.Row, direction: str, ethertype: str, remote: str | None
) -> None:
    rule = RULE.stored(
        {
            **born(),
            "name": "",
            "description": "",
            "tags": [],
            "project_id": group["project_id"],
            "security_group_id": group["id"],
            "direction": direction,
            "ethertype": ethertype,
            "remote_group_id": remote,
        }
    )
    store.insert(db, "security_group_rules", rule)


@blueprint.get("/v2.0/security-groups")
def list_groups() -> Response:
    who = caller()
    if who.project_id and not read(
        lambda db: store.find(db, "security_groups", project_id=who.project_id, is_default=1)
    ):
        write(lambda db: default_of(db, who.project_id))
    return listed(GROUP, who, owned(who), view)


@blueprint.get("/v2.0/security-groups/<ident>")
def show_group(ident: str) -> Response:
    who = caller()
    return one(GROUP, who, read(lambda db: view(db, mine(db, GROUP, who, ident))))


@blueprint.post("/v2.0/security-groups")
def create_group() -> Response:
    who = writer()
    wanted, bulk = GROUP.requested(who)

    def work(db: sqlite3.Connection) -> list[dict[str, Any]]:
        bodies = []
        for entry in wanted:
            if entry["name"].lower() == DEFAULT:
                raise conflict(
                    "The default security group exists already.", "SecurityGroupDefaultAlreadyExists"
                )
            default_of(db, entry["project_id"])
            quotas.charge(db, "security_group", entry["project_id"])
            bodies.append(view(db, _make(db, entry)))
        return bodies

    return created(GROUP, who, write(work), bulk)


@blueprint.put("/v2.0/security-groups/<ident>")
def update_group(ident: str) -> Response:
    who = writer()
    changes = GROUP.changes(who)

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        row = mine(db, GROUP, who, ident)
        renamed = changes.get("name", row["name"]) != row["name"]
        if renamed and (row["is_default"] or changes["name"].lower() == DEFAULT):
            raise conflict(
                "The name default stays with the default group.", "SecurityGroupCannotUpdateDefault"
            )
        if changes.get("stateful", row["stateful"]) != bool(row["stateful"]) and _ports(db, ident):
            raise conflict(f"Security Group {ident} in use.", "SecurityGroupInUse")
        row.update(GROUP.stored({**changes, **touched(row)}))
        store.update(db, "security_groups", row, id=ident)
        return view(db, row)

    return one(GROUP, who, write(work))


def _ports(db: sqlite3.Connection, ident: str) -> int:
    return store.count(db, "port_security_groups", security_group_id=ident)


@blueprint.delete("/v2.0/security-groups/<ident>")
def delete_group(ident: str) -> Response:
    who = writer()

    def work(db: sqlite3.Connection) -> None:
        row = mine(db, GROUP, who, ident)
        if row["is_default"] and not who.is_admin:
            raise conflict(
                "The default security group cannot be removed.", "SecurityGroupCannotRemoveDefault"
            )
        if _ports(db, ident):
            raise conflict(f"Security Group {ident} in use.", "SecurityGroupInUse")
        store.delete(db, "security_groups", id=ident)

    write(work)
    return web.empty()
