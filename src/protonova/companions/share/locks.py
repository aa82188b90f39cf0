"""Locks that keep shares from being deleted, and access rules from being deleted or seen.

Who made a lock says who may end it: a user's is its project's, an administrator's or a service's is theirs alone.
"""

import sqlite3
from typing import Any

from flask import Response, request

from protonova.companions import check, clock, store, web
from protonova.companions.caller import caller
from protonova.companions.fault import Fault, bad, forbidden
from protonova.companions.project_routes import writer
from protonova.companions.share import microversion
from protonova.companions.share.routes import everything, found_share, read, route, window, write

_ACTIONS = {"share": ("delete",), "access_rule": ("delete", "show")}
_FILTERS = ("resource_id", "resource_type", "resource_action", "user_id", "lock_context", "lock_reason")


def context() -> str:
    """In whose name the caller locks."""
    who = caller()
    if who.is_service:
        return "service"
    return "admin" if who.is_admin else "user"


def owns(lock: store.Row) -> bool:
    """Whether the caller may see past a lock and end it."""
    who = caller()
    if who.is_privileged:
        return True
    return bool(lock["lock_context"] == "user" and lock["project_id"] == who.project_id)


def add(db: sqlite3.Connection, resource_id: str, kind: str, action: str, reason: str | None) -> store.Row:
    row = {
        "id": web.new_id(),
        "resource_id": resource_id,
        "resource_type": kind,
        "resource_action": action,
        "lock_reason": reason,
        "lock_context": context(),
        "project_id": caller().project_id,
        "user_id": caller().user_id,
        "created_at": clock.now(),
    }
    store.insert(db, "locks", row)
    return row


def of_resource(db: sqlite3.Connection, resource_id: str, action: str) -> list[store.Row]:
    return store.select(db, "locks", store.Where(resource_id=resource_id, resource_action=action))


def drop_of(db: sqlite3.Connection, resource_id: str) -> None:
    store.delete(db, "locks", resource_id=resource_id)


def _shown(row: store.Row) -> dict[str, Any]:
    return {
        **{name: row[name] for name in ("id", "project_id", *_FILTERS)},
        "created_at": clock.naive(row["created_at"]),
        "updated_at": None,
        "links": [],
    }


def _found(db: sqlite3.Connection, ident: str) -> store.Row:
    row = store.find(db, "locks", id=ident)
    if row is None or not (caller().is_privileged or row["project_id"] == caller().project_id):
        raise Fault(404, f"Resource lock {ident} could not be found.")
    return row


@route("/resource-locks")
def list_locks() -> Response:
    microversion.require(81)
    where = store.Where()
    if not everything("all_projects"):
        where.equals("project_id", caller().project_id)
    for name in _FILTERS:
        if name in request.args:
            where.equals(name, request.args[name])
    rows = read(lambda db: store.select(db, "locks", where, f"ORDER BY created_at DESC, id {window()}"))
    return web.answer({"resource_locks": [_shown(row) for row in rows]})


@route("/resource-locks/<ident>")
def show_lock(ident: str) -> Response:
    microversion.require(81)
    return web.answer({"resource_lock": _shown(read(lambda db: _found(db, ident)))})


@route("/resource-locks", "POST")
def create_lock() -> Response:
    microversion.require(81)
    writer()
    given = web.document("resource_lock")
    ident = check.text(given, "resource_id", least=1)
    kind = check.choice(given, "resource_type", tuple(_ACTIONS), "share")
    action = check.choice(given, "resource_action", ("delete", "show"), "delete")
    if action not in _ACTIONS[kind]:
        raise bad(f"'resource_action' of a {kind} must be {' or '.join(_ACTIONS[kind])}, not '{action}'.")
    reason = check.text(given, "lock_reason", None, null=True, most=1023)

    def work(db: sqlite3.Connection) -> store.Row:
        if kind == "share":
            found_share(db, ident, to_change=True)
        elif store.find(db, "access_rules", id=ident) is None:
            raise bad(f"There is no access rule {ident}.")
        return add(db, ident, kind, action, reason)

    return web.answer({"resource_lock": _shown(write(work))})


@route("/resource-locks/<ident>", "PUT")
def update_lock(ident: str) -> Response:
    microversion.require(81)
    writer()
    given = web.document("resource_lock")

    def work(db: sqlite3.Connection) -> store.Row:
        row = _found(db, ident)
        _must_own(row)
        row["lock_reason"] = check.text(given, "lock_reason", row["lock_reason"], null=True, most=1023)
        row["resource_action"] = check.choice(
            given, "resource_action", _ACTIONS[row["resource_type"]], row["resource_action"]
        )
        changes = {name: row[name] for name in ("lock_reason", "resource_action")}
        store.update(db, "locks", changes, id=ident)
        return row

    return web.answer({"resource_lock": _shown(write(work))})


@route("/resource-locks/<ident>", "DELETE")
def delete_lock(ident: str) -> Response:
    microversion.require(81)
    writer()

    def work(db: sqlite3.Connection) -> None:
        _must_own(_found(db, ident))
        store.delete(db, "locks", id=ident)

    write(work)
    return web.empty()


def _must_own(row: store.Row) -> None:
    if not owns(row):
        raise forbidden(f"Resource lock {row['id']} was made by somebody else.")
