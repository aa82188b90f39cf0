"""Users: a name and a password within a domain. A changed password or a disabled user ends the user's tokens."""

import sqlite3
import uuid
from typing import Any

import orjson
from flask import Response

from protonova.companions import check, store, web
from protonova.companions.caller import caller
from protonova.companions.fault import bad, conflict
from protonova.companions.identity import passwords
from protonova.companions.identity.fault import unauthorized
from protonova.companions.identity.projects import extra
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

_KNOWN = {
    "id",
    "name",
    "domain_id",
    "enabled",
    "password",
    "original_password",
    "default_project_id",
    "options",
    "links",
    "password_expires_at",
}


def shown(row: store.Row) -> dict[str, Any]:
    body = {
        **orjson.loads(row["extra"]),
        "id": row["id"],
        "name": row["name"],
        "domain_id": row["domain_id"],
        "enabled": bool(row["enabled"]),
        "password_expires_at": None,
        "options": {},
        "links": {"self": link(f"users/{row['id']}")},
    }
    if row["default_project_id"]:
        body["default_project_id"] = row["default_project_id"]
    return body


def _password(given: dict[str, Any], name: str = "password") -> str | None:
    """The password given, hashed. Hashing takes milliseconds: call this before a transaction."""
    value = check.text(given, name, None, most=1024, null=True)
    return passwords.hashed(value) if value else None


def _row(db: sqlite3.Connection, given: dict[str, Any], row: store.Row) -> store.Row:
    domain_id = identifier(given, "domain_id") or row.get("domain_id") or caller().token.user["domain_id"]
    found(db, "domains", domain_id)
    default = identifier(given, "default_project_id")
    return {
        "id": row["id"],
        "name": check.text(given, "name", row.get("name", check.ABSENT), least=1),
        "domain_id": domain_id,
        "enabled": int(check.boolean(given, "enabled", row.get("enabled", True))),
        "default_project_id": default if "default_project_id" in given else row.get("default_project_id"),
        "extra": extra(given, _KNOWN, row.get("extra", "{}")),
    }


@blueprint.get("/v3/users")
def list_users() -> Response:
    admin()
    where = filters("domain_id", "name", flags=("enabled",))
    return listing("users", map(shown, read(lambda db: store.select(db, "users", where, "ORDER BY id"))))


@blueprint.get("/v3/users/<ident>")
def show_user(ident: str) -> Response:
    if not caller().is_privileged:
        admin_or_self(ident)
    return web.answer({"user": shown(read(lambda db: found(db, "users", ident)))})


@blueprint.post("/v3/users")
def create_user() -> Response:
    admin()
    given = web.document("user")
    password = _password(given)

    def work(db: sqlite3.Connection) -> store.Row:
        row = {**_row(db, given, {"id": uuid.uuid4().hex}), "password": password}
        if not store.insert(db, "users", row, ignore=True):
            raise conflict(f"A user named {row['name']} exists already in its domain.")
        return row

    return web.answer({"user": shown(write(work))}, 201)


@blueprint.patch("/v3/users/<ident>")
def update_user(ident: str) -> Response:
    admin()
    given = web.document("user")
    password = _password(given)

    def work(db: sqlite3.Connection) -> store.Row:
        row = _row(db, given, found(db, "users", ident))
        if password:
            row["password"] = password
        if password or not row["enabled"]:
            store.delete(db, "tokens", user_id=ident)
        try:
            store.update(db, "users", row, id=ident)
        except sqlite3.IntegrityError as error:
            raise conflict(f"A user named {row['name']} exists already in its domain.") from error
        return row

    return web.answer({"user": shown(write(work))})


@blueprint.delete("/v3/users/<ident>")
def delete_user(ident: str) -> Response:
    admin()

    def work(db: sqlite3.Connection) -> None:
        found(db, "users", ident)
        store.delete(db, "assignments", actor_kind="user", actor_id=ident)
        store.delete(db, "users", id=ident)

    write(work)
    return web.empty()


@blueprint.post("/v3/users/<ident>/password")
def change_password(ident: str) -> Response:
    """The old password is the proof; a token is not asked for."""
    given = web.document("user")
    original = check.text(given, "original_password", most=1024)
    password = _password(given)
    if password is None:
        raise bad("'password' must not be empty.")
    before = read(lambda db: store.find(db, "users", id=ident))
    if before is None or not before["enabled"] or not passwords.matches(original, before["password"]):
        raise unauthorized()

    def work(db: sqlite3.Connection) -> None:
        if not store.update(db, "users", {"password": password}, id=ident, password=before["password"]):
            raise conflict("The password has been changed meanwhile.")
        store.delete(db, "tokens", user_id=ident)

    write(work)
    return web.empty()


@blueprint.get("/v3/users/<ident>/groups")
def groups_of_user(ident: str) -> Response:
    admin_or_self(ident)
    from protonova.companions.identity.groups import shown as group_shown

    def work(db: sqlite3.Connection) -> list[store.Row]:
        found(db, "users", ident)
        where = store.Where().add("id IN (SELECT group_id FROM memberships WHERE user_id = ?)", ident)
        return store.select(db, "groups", where)

    return listing("groups", map(group_shown, read(work)))
