"""Projects: what owns servers, images, networks and volumes. They form a tree; nothing is inherited in it."""

import sqlite3
import uuid
from typing import Any

import orjson
from flask import Response, request

from protonova.companions import check, store, web
from protonova.companions.caller import caller
from protonova.companions.fault import bad, conflict, forbidden, missing
from protonova.companions.identity import roles_held
from protonova.companions.identity.routes import (
    admin,
    blueprint,
    filters,
    found,
    identifier,
    link,
    listing,
)
from protonova.companions.identity.routes import read as _read
from protonova.companions.identity.routes import write as _write

_KNOWN = {
    "id",
    "name",
    "domain_id",
    "parent_id",
    "description",
    "enabled",
    "tags",
    "is_domain",
    "options",
    "links",
}


def shown(row: store.Row) -> dict[str, Any]:
    return {
        **orjson.loads(row["extra"]),
        "id": row["id"],
        "name": row["name"],
        "domain_id": row["domain_id"],
        "parent_id": row["parent_id"],
        "description": row["description"],
        "enabled": bool(row["enabled"]),
        "is_domain": False,
        "tags": orjson.loads(row["tags"]),
        "options": {},
        "links": {"self": link(f"projects/{row['id']}")},
    }


def extra(given: dict[str, Any], known: set[str], before: str = "{}") -> str:
    """What a client adds to an entity beyond its own attributes is kept as it is."""
    merged = {**orjson.loads(before), **{key: value for key, value in given.items() if key not in known}}
    return orjson.dumps(merged).decode()


def _row(db: sqlite3.Connection, given: dict[str, Any], row: store.Row) -> store.Row:
    parent_id = identifier(given, "parent_id") or row.get("parent_id")
    domain_id = identifier(given, "domain_id") or row.get("domain_id")
    if not domain_id:
        parent = store.find(db, "projects", id=parent_id) if parent_id else None
        domain_id = parent["domain_id"] if parent else parent_id or caller().token.user["domain_id"]
    parent_id = parent_id or domain_id
    if store.find(db, "domains", id=domain_id) is None:
        raise bad(f"There is no domain {domain_id}.")
    if parent_id != domain_id:
        parent = store.find(db, "projects", id=parent_id)
        if parent is None or parent["domain_id"] != domain_id:
            raise bad(f"There is no project {parent_id} in domain {domain_id} to be the parent.")
    if row and (parent_id, domain_id) != (row.get("parent_id", parent_id), row.get("domain_id", domain_id)):
        raise forbidden("The parent and the domain of a project do not change.")
    return {
        "id": row["id"],
        "name": check.text(given, "name", row.get("name", check.ABSENT), most=64, least=1),
        "domain_id": domain_id,
        "parent_id": parent_id,
        "description": check.text(given, "description", row.get("description", ""), most=65535, null=True)
        or "",
        "enabled": int(check.boolean(given, "enabled", row.get("enabled", True))),
        "tags": orjson.dumps(_tags(given["tags"])).decode() if "tags" in given else row.get("tags", "[]"),
        "extra": extra(given, _KNOWN, row.get("extra", "{}")),
    }


def _tags(value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) > 80:
        raise bad("'tags' must be a list of at most 80 strings.")
    for tag in value:
        if not isinstance(tag, str) or not 0 < len(tag) <= 255 or "/" in tag or "," in tag:
            raise bad("A tag must be a string of 1 to 255 characters without '/' and ','.")
    return list(dict.fromkeys(value))


@blueprint.get("/v3/projects")
def list_projects() -> Response:
    admin()
    if web.yes(request.args.get("is_domain", "false")):
        return listing("projects", [])
    where = filters("domain_id", "name", "parent_id", flags=("enabled",))
    for tag in filter(None, request.args.get("tags", "").split(",")):
        where.add("EXISTS (SELECT 1 FROM json_each(tags) WHERE json_each.value = ?)", tag)
    return listing(
        "projects", map(shown, _read(lambda db: store.select(db, "projects", where, "ORDER BY id")))
    )


@blueprint.get("/v3/projects/<ident>")
def show_project(ident: str) -> Response:
    user_id = caller().user_id
    if caller().project_id != ident and not caller().is_privileged:
        held = _read(lambda db: roles_held.held(db, user_id, "project", ident))
        if not held:
            raise forbidden()
    return web.answer({"project": shown(_read(lambda db: found(db, "projects", ident)))})


@blueprint.post("/v3/projects")
def create_project() -> Response:
    admin()
    given = web.document("project")
    if given.get("is_domain") not in (None, False):
        raise bad("A project cannot act as a domain here; create a domain.")

    def work(db: sqlite3.Connection) -> store.Row:
        row = _row(db, given, {"id": uuid.uuid4().hex})
        if not store.insert(db, "projects", row, ignore=True):
            raise conflict(f"A project named {row['name']} exists already in its domain.")
        return row

    return web.answer({"project": shown(_write(work))}, 201)


@blueprint.patch("/v3/projects/<ident>")
def update_project(ident: str) -> Response:
    admin()
    given = web.document("project")
    return web.answer({"project": shown(_write(lambda db: _changed(db, ident, given)))})


def _changed(db: sqlite3.Connection, ident: str, given: dict[str, Any]) -> store.Row:
    row = _row(db, given, found(db, "projects", ident))
    try:
        store.update(db, "projects", row, id=ident)
    except sqlite3.IntegrityError as error:
        raise conflict(f"A project named {row['name']} exists already in its domain.") from error
    return row


@blueprint.delete("/v3/projects/<ident>")
def delete_project(ident: str) -> Response:
    admin()

    def work(db: sqlite3.Connection) -> None:
        found(db, "projects", ident)
        if store.count(db, "projects", parent_id=ident):
            raise forbidden(f"Project {ident} still has projects below it.")
        store.delete(db, "assignments", target_kind="project", target_id=ident)
        store.delete(db, "tokens", scope_kind="project", scope_id=ident)
        db.execute("UPDATE users SET default_project_id = NULL WHERE default_project_id = ?", (ident,))
        store.delete(db, "projects", id=ident)

    _write(work)
    return web.empty()


@blueprint.get("/v3/projects/<ident>/tags")
def list_tags(ident: str) -> Response:
    admin()
    return web.answer({"tags": shown(_read(lambda db: found(db, "projects", ident)))["tags"], "links": {}})


@blueprint.put("/v3/projects/<ident>/tags")
def replace_tags(ident: str) -> Response:
    admin()
    given = {"tags": web.document().get("tags")}
    row = _write(lambda db: _changed(db, ident, given))
    return web.answer({"tags": orjson.loads(row["tags"]), "links": {}})


@blueprint.delete("/v3/projects/<ident>/tags")
def clear_tags(ident: str) -> Response:
    admin()
    _write(lambda db: _changed(db, ident, {"tags": []}))
    return web.empty()


@blueprint.route("/v3/projects/<ident>/tags/<tag>", methods=["GET", "PUT", "DELETE"])
def one_tag(ident: str, tag: str) -> Response:
    admin()

    def work(db: sqlite3.Connection) -> bool:
        tags = orjson.loads(found(db, "projects", ident)["tags"])
        if request.method == "PUT":
            if tag not in tags:
                _changed(db, ident, {"tags": [*tags, tag]})
            return True
        if tag not in tags:
            raise missing("Tag", tag)
        if request.method == "DELETE":
            _changed(db, ident, {"tags": [item for item in tags if item != tag]})
        return False

    return web.empty(201 if _write(work) else 204)
