"""Tokens: random text for the bearer, a row under its hash for us.

A row says who, for what scope and until when. Everything else a token tells (names, roles, whether the user and the
project are still enabled) is looked up when it is shown, so a change of a role or a disabled user counts at once.
"""

import hashlib
import secrets
import sqlite3
from dataclasses import dataclass
from typing import Any

import orjson

from protonova.companions import clock, store
from protonova.companions.identity import roles_held
from protonova.companions.identity.fault import unauthorized

UNSCOPED, PROJECT, DOMAIN, SYSTEM = "none", "project", "domain", "system"
_SWEEP_EVERY_US = 60_000_000
# A service may go on with a user's token for this long after its end, to finish what the user began.
_EXPIRED_WINDOW_US = 48 * 3600 * 1_000_000
_swept_at = 0


@dataclass(frozen=True)
class Scope:
    kind: str = UNSCOPED
    id: str = ""


@dataclass(frozen=True)
class Token:
    """A token that is valid now, with all it stands for."""

    row: store.Row
    user: store.Row
    user_domain: store.Row
    scope: Scope
    project: store.Row | None
    domain: store.Row | None  # the scope, or the domain of the project that is
    roles: list[dict[str, str]]

    @property
    def role_names(self) -> list[str]:
        return [role["name"] for role in self.roles]


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def issue(
    db: sqlite3.Connection,
    user_id: str,
    scope: Scope,
    methods: list[str],
    *,
    lifetime: int,
    parent: store.Row | None = None,
    credential: store.Row | None = None,
) -> tuple[str, Token]:
    """A new token. One made from another lives no longer than that, and carries its audit id."""
    _sweep(db)
    text = f"pn{secrets.token_urlsafe(36)}"
    issued = clock.now()
    expires = issued + lifetime * 1_000_000
    audit_ids = [secrets.token_urlsafe(16)]
    if parent:
        expires = min(expires, parent["expires_at"])
        audit_ids.append(orjson.loads(parent["audit_ids"])[-1])
    if credential and credential["expires_at"]:
        expires = min(expires, credential["expires_at"])
    row = {
        "hash": digest(text),
        "user_id": user_id,
        "scope_kind": scope.kind,
        "scope_id": scope.id,
        "methods": orjson.dumps(methods).decode(),
        "audit_ids": orjson.dumps(audit_ids).decode(),
        "application_credential_id": credential["id"] if credential else None,
        "issued_at": issued,
        "expires_at": expires,
    }
    token = _resolve(db, row)
    if token is None or (scope.kind != UNSCOPED and not token.roles):
        raise unauthorized()
    store.insert(db, "tokens", row)
    return text, token


def find(db: sqlite3.Connection, text: str, *, allow_expired: bool = False) -> Token | None:
    row = store.find(db, "tokens", hash=digest(text))
    grace = _EXPIRED_WINDOW_US if allow_expired else 0
    if row is None or row["expires_at"] + grace <= clock.now():
        return None
    token = _resolve(db, row)
    return token if token and (token.roles or token.scope.kind == UNSCOPED) else None


def revoke(db: sqlite3.Connection, token: Token) -> None:
    store.delete(db, "tokens", hash=token.row["hash"])


def _resolve(db: sqlite3.Connection, row: store.Row) -> Token | None:
    user = store.find(db, "users", id=row["user_id"])
    if not user or not user["enabled"]:
        return None
    user_domain = store.find(db, "domains", id=user["domain_id"])
    if not user_domain or not user_domain["enabled"]:
        return None
    scope = Scope(row["scope_kind"], row["scope_id"])
    project, domain = None, None
    if scope.kind == PROJECT:
        project = store.find(db, "projects", id=scope.id)
        if not project or not project["enabled"]:
            return None
    if scope.kind in (PROJECT, DOMAIN):
        domain_id = project["domain_id"] if project else scope.id
        domain = user_domain if domain_id == user_domain["id"] else store.find(db, "domains", id=domain_id)
        if not domain or not domain["enabled"]:
            return None
    roles = [] if scope.kind == UNSCOPED else roles_held.held(db, user["id"], scope.kind, scope.id)
    if row["application_credential_id"]:
        credential = store.find(db, "application_credentials", id=row["application_credential_id"])
        if credential is None:
            return None
        allowed: set[str] = set()
        for role_id in orjson.loads(credential["roles"]):
            allowed.update(roles_held.implied(db, role_id))
        roles = [role for role in roles if role["id"] in allowed]
    return Token(row, user, user_domain, scope, project, domain, roles)


def shown(token: Token, catalog: list[dict[str, Any]] | None) -> dict[str, Any]:
    """The body of a token as the API shows it."""
    row, user, domain = token.row, token.user, token.user_domain
    body: dict[str, Any] = {
        "methods": orjson.loads(row["methods"]),
        "user": {
            "id": user["id"],
            "name": user["name"],
            "domain": {"id": domain["id"], "name": domain["name"]},
            "password_expires_at": None,
        },
        "audit_ids": orjson.loads(row["audit_ids"]),
        "issued_at": clock.precise(row["issued_at"]),
        "expires_at": clock.precise(row["expires_at"]),
    }
    if token.scope.kind == UNSCOPED:
        return body
    body["roles"] = token.roles
    scope_domain = {"id": token.domain["id"], "name": token.domain["name"]} if token.domain else {}
    if token.project:
        body["project"] = {"id": token.project["id"], "name": token.project["name"], "domain": scope_domain}
        body["is_domain"] = False
    elif token.scope.kind == DOMAIN:
        body["domain"] = scope_domain
    else:
        body["system"] = {"all": True}
    if row["application_credential_id"]:
        body["application_credential"] = {"id": row["application_credential_id"]}
    if catalog is not None:
        body["catalog"] = catalog
    return body


def _sweep(db: sqlite3.Connection) -> None:
    """Forget expired tokens now and then, on the way of a write that happens anyway."""
    global _swept_at
    now = clock.now()
    if now - _swept_at > _SWEEP_EVERY_US:
        _swept_at = now
        db.execute("DELETE FROM tokens WHERE expires_at <= ?", (now - _EXPIRED_WINDOW_US,))
