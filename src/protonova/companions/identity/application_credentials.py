"""Application credentials: a secret that stands for its user in one project, with some of the user's roles."""

import secrets
import sqlite3
import uuid
from typing import Any

import orjson
from flask import Response, request

from protonova.companions import check, clock, store, web
from protonova.companions.caller import caller
from protonova.companions.fault import bad, conflict, forbidden, missing
from protonova.companions.identity import passwords
from protonova.companions.identity.routes import (
    admin_or_self,
    blueprint,
    filters,
    link,
    listing,
    read,
    write,
)

_PATH = "/v3/users/<user_id>/application_credentials"


def _shown(db: sqlite3.Connection, row: store.Row) -> dict[str, Any]:
    held = (store.find(db, "roles", id=ident) for ident in orjson.loads(row["roles"]))
    return {
        "id": row["id"],
        "name": row["name"],
        "description": row["description"],
        "project_id": row["project_id"],
        "user_id": row["user_id"],
        "unrestricted": bool(row["unrestricted"]),
        "expires_at": clock.naive(row["expires_at"]),
        "roles": [{"id": role["id"], "name": role["name"], "domain_id": None} for role in held if role],
        "system": None,
        "links": {"self": link(f"users/{row['user_id']}/application_credentials/{row['id']}")},
    }


def _own(user_id: str) -> None:
    """Only the user makes or drops these, and not by means of one that is restricted."""
    me = caller()
    if me.user_id != user_id:
        raise forbidden("Application credentials are made by their own user.")
    ident = me.token.row["application_credential_id"]
    if ident and not read(lambda db: store.find(db, "application_credentials", id=ident))["unrestricted"]:
        raise forbidden("A restricted application credential cannot make or drop others.")


def _role_ids(given: Any) -> list[str]:
    held = {role["id"]: role["name"] for role in caller().token.roles}
    if given is None:
        return list(held)
    if not isinstance(given, list):
        raise bad("'roles' must be a list.")
    chosen = []
    for entry in given:
        match = [
            ident
            for ident, name in held.items()
            if isinstance(entry, dict) and (entry.get("id") == ident or entry.get("name") == name)
        ]
        if not match:
            raise bad("'roles' may name only roles that you hold on the project.")
        chosen.extend(match)
    return chosen


@blueprint.post(_PATH)
def create_credential(user_id: str) -> Response:
    _own(user_id)
    given = web.document("application_credential")
    if not caller().project_id:
        raise bad("An application credential is made with a token of the project it is for.")
    if given.get("access_rules"):
        raise bad("Access rules are not supported.")
    expires_at = None
    if given.get("expires_at"):
        try:
            expires_at = clock.parse(str(given["expires_at"]))
        except ValueError as error:
            raise bad("'expires_at' must be a time in ISO 8601.") from error
        if expires_at <= clock.now():
            raise bad("'expires_at' lies in the past.")
    secret = check.text(given, "secret", None, most=1024, null=True) or secrets.token_urlsafe(48)
    row = {
        "id": uuid.uuid4().hex,
        "user_id": user_id,
        "project_id": caller().project_id,
        "name": check.text(given, "name", least=1),
        "description": check.text(given, "description", "", most=65535, null=True) or "",
        "secret": passwords.hashed(secret),
        "roles": orjson.dumps(_role_ids(given.get("roles"))).decode(),
        "unrestricted": int(check.flag(given, "unrestricted", False)),
        "expires_at": expires_at,
    }

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        if not store.insert(db, "application_credentials", row, ignore=True):
            raise conflict(f"An application credential named {row['name']} exists already.")
        return _shown(db, row)

    return web.answer({"application_credential": {**write(work), "secret": secret}}, 201)


@blueprint.get(_PATH)
def list_credentials(user_id: str) -> Response:
    admin_or_self(user_id)
    where = filters("name").equals("user_id", user_id)
    rows = read(lambda db: [_shown(db, row) for row in store.select(db, "application_credentials", where)])
    return listing("application_credentials", rows)


@blueprint.route(f"{_PATH}/<ident>", methods=["GET", "DELETE"])
def one_credential(user_id: str, ident: str) -> Response:
    if request.method == "DELETE" and not caller().is_admin:
        _own(user_id)
    admin_or_self(user_id)

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        row = store.find(db, "application_credentials", id=ident, user_id=user_id)
        if row is None:
            raise missing("Application credential", ident)
        if request.method == "DELETE":
            store.delete(db, "application_credentials", id=ident)
        return _shown(db, row)

    if request.method == "DELETE":
        write(work)
        return web.empty()
    return web.answer({"application_credential": read(work)})
