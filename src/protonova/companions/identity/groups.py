"""Groups of users; a role given to a group is held by its members."""

import sqlite3
import uuid
from typing import Any

from flask import Response, request

from protonova.companions import check, store, web
from protonova.companions.caller import caller
from protonova.companions.fault import conflict, missing
from protonova.companions.identity import users
from protonova.companions.identity.routes import (
    admin,
    admin_or_self,
    blueprint,
    filters,
    found,
    identifier,
    link,
    listing,
    read,
    write,
)


def shown(row: store.Row) -> dict[str, Any]:
    return {**row, "links": {"self": link(f"groups/{row['id']}")}}


def _row(db: sqlite3.Connection, given: dict[str, Any], row: store.Row) -> store.Row:
    domain_id = identifier(given, "domain_id") or row.get("domain_id") or caller().token.user["domain_id"]
    found(db, "domains", domain_id)
    return {
        "id": row["id"],
        "name": check.text(given, "name", row.get("name", check.ABSENT), most=64, least=1),
        "domain_id": domain_id,
        "description": check.text(given, "description", row.get("description", ""), most=65535, null=True)
        or "",
    }


@blueprint.get("/v3/groups")
def list_groups() -> Response:
    admin()
    where = filters("domain_id", "name")
    return listing("groups", map(shown, read(lambda db: store.select(db, "groups", where))))


@blueprint.get("/v3/groups/<ident>")
def show_group(ident: str) -> Response:
    admin()
    return web.answer({"group": shown(read(lambda db: found(db, "groups", ident)))})


@blueprint.post("/v3/groups")
def create_group() -> Response:
    admin()
    given = web.document("group")

    def work(db: sqlite3.Connection) -> store.Row:
        row = _row(db, given, {"id": uuid.uuid4().hex})
        if not store.insert(db, "groups", row, ignore=True):
            raise conflict(f"A group named {row['name']} exists already in its domain.")
        return row

    return web.answer({"group": shown(write(work))}, 201)


@blueprint.patch("/v3/groups/<ident>")
def update_group(ident: str) -> Response:
    admin()
    given = web.document("group")

    def work(db: sqlite3.Connection) -> store.Row:
        row = _row(db, given, found(db, "groups", ident))
        try:
            store.update(db, "groups", row, id=ident)
        except sqlite3.IntegrityError as error:
            raise conflict(f"A group named {row['name']} exists already in its domain.") from error
        return row

    return web.answer({"group": shown(write(work))})


@blueprint.delete("/v3/groups/<ident>")
def delete_group(ident: str) -> Response:
    admin()

    def work(db: sqlite3.Connection) -> None:
        found(db, "groups", ident)
        store.delete(db, "assignments", actor_kind="group", actor_id=ident)
        store.delete(db, "groups", id=ident)

    write(work)
    return web.empty()


@blueprint.get("/v3/groups/<ident>/users")
def list_members(ident: str) -> Response:
    admin()

    def work(db: sqlite3.Connection) -> list[store.Row]:
        found(db, "groups", ident)
        where = store.Where().add("id IN (SELECT user_id FROM memberships WHERE group_id = ?)", ident)
        return store.select(db, "users", where)

    return listing("users", map(users.shown, read(work)))


@blueprint.route("/v3/groups/<ident>/users/<user_id>", methods=["GET", "PUT", "DELETE"])
def membership(ident: str, user_id: str) -> Response:
    """GET stands for HEAD too: is the user a member?"""
    if request.method in ("GET", "HEAD"):
        admin_or_self(user_id)
    else:
        admin()

    def work(db: sqlite3.Connection) -> None:
        found(db, "groups", ident)
        found(db, "users", user_id)
        if request.method == "PUT":
            store.insert(db, "memberships", {"group_id": ident, "user_id": user_id}, ignore=True)
        elif request.method == "DELETE":
            if not store.delete(db, "memberships", group_id=ident, user_id=user_id):
                raise missing("Member", user_id)
        elif not store.find(db, "memberships", group_id=ident, user_id=user_id):
            raise missing("Member", user_id)

    if request.method in ("PUT", "DELETE"):
        write(work)
    else:
        read(work)
    return web.empty()
