"""Making, checking and revoking tokens, and what a token opens."""

import sqlite3
from collections.abc import Iterable
from typing import Any

import orjson
from flask import Response, request

from protonova.companions import clock, store, web
from protonova.companions.caller import caller
from protonova.companions.cloud import cloud
from protonova.companions.fault import bad, forbidden, missing
from protonova.companions.identity import passwords, roles_held, tokens
from protonova.companions.identity.catalog import catalog
from protonova.companions.identity.domains import shown as domain_shown
from protonova.companions.identity.fault import unauthorized
from protonova.companions.identity.projects import shown as project_shown
from protonova.companions.identity.routes import blueprint, listing, read, write

METHODS = ("password", "token", "application_credential")


def _mapping(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    if not isinstance(value, dict):
        raise bad(f"'{name}' must be an object.")
    return value


def _domain(db: sqlite3.Connection, reference: dict[str, Any]) -> store.Row | None:
    if "id" in reference:
        return store.find(db, "domains", id=str(reference["id"]))
    if "name" in reference:
        return store.find(db, "domains", name=str(reference["name"]))
    raise bad("A domain is told by its 'id' or its 'name'.")


def _named(db: sqlite3.Connection, table: str, reference: dict[str, Any]) -> store.Row | None:
    """A user or a project: by id, or by name within a domain."""
    if "id" in reference:
        return store.find(db, table, id=str(reference["id"]))
    if "name" not in reference or "domain" not in reference:
        raise bad(f"One of the {table} is told by its 'id', or by its 'name' and its 'domain'.")
    domain = _domain(db, _mapping(reference, "domain"))
    return store.find(db, table, domain_id=domain["id"], name=str(reference["name"])) if domain else None


class Proof:
    """Who the caller proved to be, and what that proof limits."""

    def __init__(self, user: store.Row, methods: Iterable[str]) -> None:
        self.user = user
        self.methods = list(dict.fromkeys(methods))
        self.parent: store.Row | None = None
        self.credential: store.Row | None = None


def _by_password(db: sqlite3.Connection, given: dict[str, Any]) -> Proof:
    reference = _mapping(given, "user")
    password = reference.get("password")
    if not isinstance(password, str):
        raise bad("'password' must be a string.")
    user = _named(db, "users", reference)
    if user is None or not passwords.matches(password, user["password"]):
        raise unauthorized()
    return Proof(user, ["password"])


def _by_token(db: sqlite3.Connection, given: dict[str, Any]) -> Proof:
    text = given.get("id")
    token = tokens.find(db, text) if isinstance(text, str) else None
    if token is None:
        raise unauthorized()
    if token.row["application_credential_id"]:
        raise forbidden("A token of an application credential cannot be exchanged.")
    proof = Proof(token.user, ["token", *orjson.loads(token.row["methods"])])
    proof.parent = token.row
    return proof


def _by_credential(db: sqlite3.Connection, given: dict[str, Any]) -> Proof:
    if "id" in given:
        credential = store.find(db, "application_credentials", id=str(given["id"]))
    else:
        user = _named(db, "users", _mapping(given, "user"))
        name = str(given.get("name", ""))
        credential = (
            store.find(db, "application_credentials", user_id=user["id"], name=name) if user else None
        )
    secret = given.get("secret")
    if (
        credential is None
        or not isinstance(secret, str)
        or not passwords.matches(secret, credential["secret"])
    ):
        raise unauthorized()
    if credential["expires_at"] and credential["expires_at"] <= clock.now():
        raise unauthorized()
    user = store.find(db, "users", id=credential["user_id"])
    if user is None:
        raise unauthorized()
    proof = Proof(user, ["application_credential"])
    proof.credential = credential
    return proof


_PROOFS = {"password": _by_password, "token": _by_token, "application_credential": _by_credential}


def _proof(db: sqlite3.Connection, auth: dict[str, Any]) -> Proof:
    identity = _mapping(auth, "identity")
    methods = identity.get("methods")
    if not isinstance(methods, list) or not methods or not all(isinstance(method, str) for method in methods):
        raise bad("'methods' must be a list with at least one method.")
    proof: Proof | None = None
    for method in methods:
        if method not in _PROOFS:
            raise unauthorized(f"The authentication method must be one of {', '.join(METHODS)}.")
        found = _PROOFS[method](db, _mapping(identity, method))
        if proof is not None:
            if proof.user["id"] != found.user["id"]:
                raise unauthorized()
            found.methods = list(dict.fromkeys([*proof.methods, *found.methods]))
            found.parent = found.parent or proof.parent
            found.credential = found.credential or proof.credential
        proof = found
    assert proof is not None
    return proof


def _scope(db: sqlite3.Connection, auth: dict[str, Any], proof: Proof) -> tokens.Scope:
    given = auth.get("scope")
    if proof.credential:
        if given:
            raise unauthorized("An application credential already has its scope.")
        return tokens.Scope(tokens.PROJECT, proof.credential["project_id"])
    if given is None or given == {}:
        default = proof.user["default_project_id"]
        project = store.find(db, "projects", id=default) if default else None
        if project and project["enabled"] and roles_held.held(db, proof.user["id"], tokens.PROJECT, default):
            return tokens.Scope(tokens.PROJECT, default)
        return tokens.Scope()
    if given == "unscoped" or (isinstance(given, dict) and "unscoped" in given):
        return tokens.Scope()
    if not isinstance(given, dict) or len(given) != 1:
        raise bad("'scope' must name one of project, domain, system or unscoped.")
    if "project" in given:
        row = _named(db, "projects", _mapping(given, "project"))
        kind = tokens.PROJECT
    elif "domain" in given:
        row = _domain(db, _mapping(given, "domain"))
        kind = tokens.DOMAIN
    elif given.get("system") == {"all": True}:
        return tokens.Scope(tokens.SYSTEM, "system")
    else:
        raise bad("'scope' must name one of project, domain, system or unscoped.")
    if row is None:
        raise unauthorized()
    return tokens.Scope(kind, row["id"])


@blueprint.post("/v3/auth/tokens")
def create_token() -> Response:
    auth = web.document("auth")
    lifetime = cloud().settings.token_seconds
    # A password costs milliseconds to verify: it is done before the one writer is taken.
    proof = read(lambda db: _proof(db, auth))

    def work(db: sqlite3.Connection) -> tuple[str, tokens.Token, list[dict[str, Any]] | None]:
        text, token = tokens.issue(
            db,
            proof.user["id"],
            _scope(db, auth, proof),
            proof.methods,
            lifetime=lifetime,
            parent=proof.parent,
            credential=proof.credential,
        )
        return text, token, _catalog_of(db, token)

    text, token, entries = write(work)
    body = {"token": tokens.shown(token, entries)}
    return web.answer(body, 201, {"X-Subject-Token": text, "Vary": "X-Auth-Token"})


def _catalog_of(db: sqlite3.Connection, token: tokens.Token) -> list[dict[str, Any]] | None:
    if "nocatalog" in request.args or token.scope.kind == tokens.UNSCOPED:
        return None
    return catalog(db, token.project["id"] if token.project else "")


def _subject(db: sqlite3.Connection) -> tokens.Token:
    """The token asked about. Its owner may ask, and so may administrators and services."""
    text = request.headers.get("X-Subject-Token", "")
    late = request.args.get("allow_expired", "") in ("1", "true", "True")
    asker = caller()
    token = tokens.find(db, text, allow_expired=late and asker.is_privileged)
    if token is None:
        raise missing("Token", "given")
    if not asker.is_privileged and token.user["id"] != asker.user_id:
        raise forbidden()
    return token


@blueprint.get("/v3/auth/tokens")
def validate_token() -> Response:
    """Also answers HEAD."""
    caller()

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        token = _subject(db)
        return tokens.shown(token, _catalog_of(db, token))

    headers = {"X-Subject-Token": request.headers.get("X-Subject-Token", ""), "Vary": "X-Auth-Token"}
    return web.answer({"token": read(work)}, 200, headers)


@blueprint.delete("/v3/auth/tokens")
def revoke_token() -> Response:
    caller()
    write(lambda db: tokens.revoke(db, _subject(db)))
    return web.empty()


@blueprint.get("/v3/auth/catalog")
def own_catalog() -> Response:
    project_id = caller().project_id
    return listing("catalog", read(lambda db: catalog(db, project_id)))


def open_projects(db: sqlite3.Connection, user_id: str) -> list[store.Row]:
    found = (
        store.find(db, "projects", id=ident) for ident in roles_held.targets(db, user_id, tokens.PROJECT)
    )
    return [row for row in found if row and row["enabled"]]


@blueprint.get("/v3/auth/projects")
def own_projects() -> Response:
    user_id = caller().user_id
    return listing("projects", map(project_shown, read(lambda db: open_projects(db, user_id))))


@blueprint.get("/v3/users/<user_id>/projects")
def projects_of_user(user_id: str) -> Response:
    if caller().user_id != user_id:
        caller().require_admin()
    return listing("projects", map(project_shown, read(lambda db: open_projects(db, user_id))))


@blueprint.get("/v3/auth/domains")
def own_domains() -> Response:
    user_id = caller().user_id

    def work(db: sqlite3.Connection) -> list[store.Row]:
        idents = roles_held.targets(db, user_id, tokens.DOMAIN)
        return [row for ident in idents if (row := store.find(db, "domains", id=ident)) and row["enabled"]]

    return listing("domains", map(domain_shown, read(work)))


@blueprint.get("/v3/auth/system")
def own_system() -> Response:
    user_id = caller().user_id
    held = read(lambda db: roles_held.held(db, user_id, tokens.SYSTEM, "system"))
    return listing("system", [{"all": True}] if held else [])
