"""Access rules of shares: who mounts them.

They are records. A directory of this machine is within everybody's reach here, so nothing is enforced by them;
hosts that mount shares for their guests are let in, and locked in, as they would be elsewhere.
"""

import ipaddress
import re
import sqlite3
from collections.abc import Callable
from typing import Any

import orjson
from flask import Response, request

from protonova.companions import check, clock, store, web
from protonova.companions.caller import caller
from protonova.companions.fault import Fault, bad, conflict, forbidden
from protonova.companions.project_routes import writer
from protonova.companions.share import microversion, shares
from protonova.companions.share.locks import add, drop_of, of_resource, owns
from protonova.companions.share.routes import found_share, read, route, write

_HIDDEN = "******"
_LEVELS = ("rw", "ro")
_USER = re.compile(r"[A-Za-z0-9_.;'`{}\[\]\-\\ ]{4,255}")


def _shown(db: sqlite3.Connection, row: store.Row) -> dict[str, Any]:
    hidden = any(not owns(lock) for lock in of_resource(db, row["id"], "show"))
    return {
        "id": row["id"],
        "share_id": row["share_id"],
        "access_type": row["access_type"],
        "access_to": _HIDDEN if hidden else row["access_to"],
        "access_key": _HIDDEN if hidden else None,
        "access_level": row["access_level"],
        "state": "active",
        "metadata": orjson.loads(row["metadata"]),
        "created_at": clock.naive(row["created_at"]),
        "updated_at": None,
    }


@route("/share-access-rules")
def list_rules() -> Response:
    microversion.require(45)
    share_id = request.args.get("share_id", "")
    if not share_id:
        raise bad("'share_id' is required.")

    def work(db: sqlite3.Connection) -> list[dict[str, Any]]:
        found_share(db, share_id, to_change=True)
        rows = store.select(db, "access_rules", store.Where(share_id=share_id), "ORDER BY created_at, id")
        return [_shown(db, row) for row in rows]

    return web.answer({"access_list": read(work)})


@route("/share-access-rules/<ident>")
def show_rule(ident: str) -> Response:
    microversion.require(45)

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        return _shown(db, _rule(db, ident))

    return web.answer({"access": read(work)})


def _rule(db: sqlite3.Connection, ident: str) -> store.Row:
    caller()
    row = store.find(db, "access_rules", id=ident)
    if row is None:
        raise Fault(404, f"Access rule {ident} could not be found.")
    found_share(db, row["share_id"], to_change=True)
    return row


def _allow(ident: str, given: dict[str, Any]) -> Response:
    kind = check.choice(given, "access_type", ("ip", "user"))
    to = check.text(given, "access_to", least=1)
    _check_whom(kind, to)
    rule = {
        "id": web.new_id(),
        "share_id": ident,
        "access_type": kind,
        "access_to": to,
        "access_level": check.choice(given, "access_level", _LEVELS, "rw")
        if given.get("access_level")
        else "rw",
        "metadata": orjson.dumps(check.strings("metadata", given.get("metadata") or {})).decode(),
        "created_at": clock.now(),
    }
    kept = {"show": "lock_visibility", "delete": "lock_deletion"}
    actions = [action for action, name in kept.items() if check.flag(given, name, False)]
    reason = check.text(given, "lock_reason", None, null=True, most=1023)
    if (actions or reason) and not microversion.at_least(82):
        raise bad("Access rules are locked from version 2.82 on.")
    if reason and not actions:
        raise bad("'lock_reason' needs 'lock_visibility' or 'lock_deletion'.")

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        share = found_share(db, ident, to_change=True)
        if share["status"] != "available":
            raise bad(f"Share {ident} must be available, not {share['status']}.")
        if not store.insert(db, "access_rules", rule, ignore=True):
            raise bad(f"Share access {kind}:{to} exists.")
        for action in actions:
            add(db, rule["id"], "access_rule", action, reason)
        return _shown(db, rule)

    return web.answer({"access": write(work)})


def _check_whom(kind: str, to: str) -> None:
    if kind == "ip":
        try:
            ipaddress.ip_network(to, strict=False)
        except ValueError as error:
            raise bad(f"'access_to' must be an address or a range of addresses, not '{to}'.") from error
    elif not _USER.fullmatch(to):
        raise bad(f"'access_to' must be the name of a user, not '{to}'.")


def _deny(ident: str, given: dict[str, Any]) -> Response:
    wanted = check.text(given, "access_id", least=1)
    unrestricted = check.flag(given, "unrestrict", False)

    def work(db: sqlite3.Connection) -> None:
        found_share(db, ident, to_change=True)
        rule = store.find(db, "access_rules", id=wanted, share_id=ident)
        if rule is None:
            raise Fault(404, f"Access rule {wanted} could not be found.")
        held = of_resource(db, wanted, "delete")
        if held and not unrestricted:
            raise conflict(f"Access rule {wanted} is locked; 'unrestrict' ends that.")
        if any(not owns(lock) for lock in held):
            raise forbidden(f"Access rule {wanted} was locked by somebody else.")
        drop_of(db, wanted)
        store.delete(db, "access_rules", id=wanted)

    write(work)
    return web.empty(202)


_ACTIONS: dict[str, Callable[[str, dict[str, Any]], Response]] = {
    "allow_access": _allow,
    "deny_access": _deny,
    "extend": shares.extend,
    "reset_status": shares.reset_status,
    "force_delete": shares.force_delete,
}


@route("/shares/<ident>/action", "POST")
def act(ident: str) -> Response:
    microversion.require(7)
    writer()
    body = web.document()
    named = [name for name in body if name in _ACTIONS]
    if len(named) != 1:
        raise bad("The body must name one action that is served here.")
    inner = body[named[0]]
    if inner is not None and not isinstance(inner, dict):
        raise bad(f"'{named[0]}' must be an object.")
    return _ACTIONS[named[0]](ident, inner or {})
