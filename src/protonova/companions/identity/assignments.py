"""Role assignments: an actor (user or group) holds a role on a target (project, domain, or the system)."""

import sqlite3
from collections.abc import Iterator
from typing import Any

from flask import Response, request

from protonova.companions import store, web
from protonova.companions.caller import caller
from protonova.companions.fault import missing
from protonova.companions.identity import roles, roles_held
from protonova.companions.identity.routes import (
    admin,
    blueprint,
    found,
    link,
    listing,
    read,
    reader,
    write,
)

_KINDS = {"projects": "project", "domains": "domain", "system": "system", "users": "user", "groups": "group"}


def _keys(targets: str, target_id: str, actors: str, actor_id: str) -> dict[str, str]:
    return {
        "target_kind": _KINDS[targets],
        "target_id": target_id,
        "actor_kind": _KINDS[actors],
        "actor_id": actor_id,
    }


def _exist(db: sqlite3.Connection, targets: str, target_id: str, actors: str, actor_id: str) -> None:
    if targets != "system":
        found(db, targets, target_id)
    found(db, actors, actor_id)


def _list(targets: str, target_id: str, actors: str, actor_id: str) -> Response:
    if caller().user_id != actor_id:
        reader()

    def work(db: sqlite3.Connection) -> list[store.Row]:
        _exist(db, targets, target_id, actors, actor_id)
        held = store.select(db, "assignments", store.Where(**_keys(targets, target_id, actors, actor_id)))
        return [store.find(db, "roles", id=row["role_id"]) or {} for row in held]

    return listing("roles", map(roles.shown, read(work)))


def _one(targets: str, target_id: str, actors: str, actor_id: str, role_id: str) -> Response:
    admin()

    def work(db: sqlite3.Connection) -> None:
        _exist(db, targets, target_id, actors, actor_id)
        found(db, "roles", role_id)
        row = {**_keys(targets, target_id, actors, actor_id), "role_id": role_id}
        if request.method == "PUT":
            store.insert(db, "assignments", row, ignore=True)
        elif store.find(db, "assignments", **row) is None:
            raise missing("Role assignment", role_id)
        elif request.method == "DELETE":
            store.delete(db, "assignments", **row)

    if request.method in ("GET", "HEAD"):
        read(work)
    else:
        write(work)
    return web.empty()


_TARGETS = "<any(projects, domains):targets>/<target_id>/<any(users, groups):actors>/<actor_id>"
_SYSTEM = "system/<any(users, groups):actors>/<actor_id>"


@blueprint.get(f"/v3/{_TARGETS}/roles")
def list_held(targets: str, target_id: str, actors: str, actor_id: str) -> Response:
    return _list(targets, target_id, actors, actor_id)


@blueprint.route(f"/v3/{_TARGETS}/roles/<role_id>", methods=["GET", "PUT", "DELETE"])
def one_held(targets: str, target_id: str, actors: str, actor_id: str, role_id: str) -> Response:
    """GET stands for HEAD too: is the role held?"""
    return _one(targets, target_id, actors, actor_id, role_id)


@blueprint.get(f"/v3/{_SYSTEM}/roles")
def list_system(actors: str, actor_id: str) -> Response:
    return _list("system", "system", actors, actor_id)


@blueprint.route(f"/v3/{_SYSTEM}/roles/<role_id>", methods=["GET", "PUT", "DELETE"])
def one_system(actors: str, actor_id: str, role_id: str) -> Response:
    return _one("system", "system", actors, actor_id, role_id)


@blueprint.get("/v3/role_assignments")
def list_assignments() -> Response:
    args = request.args
    if args.get("user.id") != caller().user_id:
        reader()
    where = store.Where()
    for name, conditions in (
        ("role.id", {"role_id": args.get("role.id")}),
        ("scope.project.id", {"target_kind": "project", "target_id": args.get("scope.project.id")}),
        ("scope.domain.id", {"target_kind": "domain", "target_id": args.get("scope.domain.id")}),
        ("scope.system", {"target_kind": "system"}),
        ("group.id", {"actor_kind": "group", "actor_id": args.get("group.id")}),
    ):
        # With `effective`, roles and groups are judged after they have been unfolded.
        if name in args and not ("effective" in args and name in ("role.id", "group.id")):
            for column, value in conditions.items():
                where.equals(column, value)
    if "user.id" in args and "effective" not in args:
        where.equals("actor_kind", "user").equals("actor_id", args["user.id"])
    if "scope.OS-INHERIT:inherited_to" in args:
        return listing("role_assignments", [])  # no role is ever inherited here
    effective = "effective" in args and web.yes(args["effective"])
    named = "include_names" in args and web.yes(args["include_names"])

    def work(db: sqlite3.Connection) -> list[dict[str, Any]]:
        rows = store.select(db, "assignments", where)
        if effective:
            rows = list(_unfolded(db, rows))
            if "user.id" in args:
                rows = [row for row in rows if row["actor_id"] == args["user.id"]]
            if "role.id" in args:
                rows = [row for row in rows if row["role_id"] == args["role.id"]]
        return [_shown(db, row, named) for row in rows]

    return listing("role_assignments", read(work))


def _unfolded(db: sqlite3.Connection, rows: list[store.Row]) -> Iterator[store.Row]:
    """Groups as their members, roles as all they imply; each combination once."""
    seen: set[tuple[str, ...]] = set()
    for row in rows:
        actors = [row["actor_id"]]
        if row["actor_kind"] == "group":
            members = store.select(db, "memberships", store.Where(group_id=row["actor_id"]))
            actors = [member["user_id"] for member in members]
        for actor_id in actors:
            for role_id in roles_held.effective(db, row["role_id"]):
                key = (row["target_kind"], row["target_id"], actor_id, role_id)
                if key not in seen:
                    seen.add(key)
                    yield {**row, "actor_kind": "user", "actor_id": actor_id, "role_id": role_id}


def _shown(db: sqlite3.Connection, row: store.Row, named: bool) -> dict[str, Any]:
    kind, target_id = row["target_kind"], row["target_id"]
    actor_table = f"{row['actor_kind']}s"
    scope: dict[str, Any] = {"system": {"all": True}}
    if kind != "system":
        scope = {kind: _reference(db, f"{kind}s", target_id, named)}
    path = f"system/{actor_table}" if kind == "system" else f"{kind}s/{target_id}/{actor_table}"
    return {
        "role": _reference(db, "roles", row["role_id"], named),
        row["actor_kind"]: _reference(db, actor_table, row["actor_id"], named),
        "scope": scope,
        "links": {"assignment": link(f"{path}/{row['actor_id']}/roles/{row['role_id']}")},
    }


def _reference(db: sqlite3.Connection, table: str, ident: str, named: bool) -> dict[str, Any]:
    if not named:
        return {"id": ident}
    row = store.find(db, table, id=ident) or {"name": ""}
    reference: dict[str, Any] = {"id": ident, "name": row["name"]}
    if row.get("domain_id"):
        domain = store.find(db, "domains", id=row["domain_id"]) or {"name": ""}
        reference["domain"] = {"id": row["domain_id"], "name": domain["name"]}
    return reference
