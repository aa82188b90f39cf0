"""Domains: the name spaces of users, groups and projects. One must be disabled before it can be deleted."""

import sqlite3
import uuid
from typing import Any

from flask import Response

from protonova.companions import check, store, web
from protonova.companions.caller import caller
from protonova.companions.fault import conflict, forbidden
from protonova.companions.identity.routes import (
    admin,
    blueprint,
    filters,
    found,
    link,
    listing,
    read,
    write,
)

DEFAULT = "default"


def shown(row: store.Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "name": row["name"],
        "description": row["description"],
        "enabled": bool(row["enabled"]),
        "tags": [],
        "options": {},
        "links": {"self": link(f"domains/{row['id']}")},
    }


@blueprint.get("/v3/domains")
def list_domains() -> Response:
    admin()
    where = filters("name", flags=("enabled",))
    return listing("domains", map(shown, read(lambda db: store.select(db, "domains", where))))


@blueprint.get("/v3/domains/<ident>")
def show_domain(ident: str) -> Response:
    token = caller().token
    if ident not in (token.user["domain_id"], token.domain["id"] if token.domain else ""):
        admin()
    return web.answer({"domain": shown(read(lambda db: found(db, "domains", ident)))})


def _row(given: dict[str, Any], row: store.Row) -> store.Row:
    return {
        "id": row["id"],
        "name": check.text(given, "name", row.get("name", check.ABSENT), most=64, least=1),
        "description": check.text(given, "description", row.get("description", ""), most=65535, null=True)
        or "",
        "enabled": int(check.boolean(given, "enabled", row.get("enabled", True))),
    }


@blueprint.post("/v3/domains")
def create_domain() -> Response:
    admin()
    row = _row(web.document("domain"), {"id": uuid.uuid4().hex})

    def work(db: sqlite3.Connection) -> None:
        if not store.insert(db, "domains", row, ignore=True):
            raise conflict(f"A domain named {row['name']} exists already.")

    write(work)
    return web.answer({"domain": shown(row)}, 201)


@blueprint.patch("/v3/domains/<ident>")
def update_domain(ident: str) -> Response:
    admin()
    given = web.document("domain")

    def work(db: sqlite3.Connection) -> store.Row:
        row = _row(given, found(db, "domains", ident))
        try:
            store.update(db, "domains", row, id=ident)
        except sqlite3.IntegrityError as error:
            raise conflict(f"A domain named {row['name']} exists already.") from error
        return row

    return web.answer({"domain": shown(write(work))})


@blueprint.delete("/v3/domains/<ident>")
def delete_domain(ident: str) -> Response:
    admin()

    def work(db: sqlite3.Connection) -> None:
        row = found(db, "domains", ident)
        if row["enabled"] or ident == DEFAULT:
            raise forbidden(f"Domain {ident} is enabled or is the default one; it cannot be deleted.")
        for table in ("projects", "users", "groups"):
            for inner in store.select(db, table, store.Where(domain_id=ident)):
                store.delete(db, "assignments", target_id=inner["id"])
                store.delete(db, "assignments", actor_id=inner["id"])
        store.delete(db, "assignments", target_id=ident)
        store.delete(db, "roles", domain_id=ident)
        store.delete(db, "domains", id=ident)

    write(work)
    return web.empty()
