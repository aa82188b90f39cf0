"""Roles and which role implies which."""

import sqlite3
import uuid
from typing import Any

from flask import Response, request

from protonova.companions import check, store, web
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
    read,
    reader,
    write,
)


def shown(row: store.Row) -> dict[str, Any]:
    return {**row, "options": {}, "links": {"self": link(f"roles/{row['id']}")}}


@blueprint.get("/v3/roles")
def list_roles() -> Response:
    reader()
    where = filters("name")
    where.equals("domain_id", request.args.get("domain_id"))
    return listing("roles", map(shown, read(lambda db: store.select(db, "roles", where, "ORDER BY name"))))


@blueprint.get("/v3/roles/<ident>")
def show_role(ident: str) -> Response:
    reader()
    return web.answer({"role": shown(read(lambda db: found(db, "roles", ident)))})


@blueprint.post("/v3/roles")
def create_role() -> Response:
    admin()
    given = web.document("role")
    row = {
        "id": uuid.uuid4().hex,
        "name": check.text(given, "name", least=1),
        "domain_id": identifier(given, "domain_id"),
        "description": check.text(given, "description", "", most=65535, null=True) or "",
    }

    def work(db: sqlite3.Connection) -> None:
        if row["domain_id"] and store.find(db, "domains", id=row["domain_id"]) is None:
            raise bad(f"There is no domain {row['domain_id']}.")
        if not store.insert(db, "roles", row, ignore=True):
            raise conflict(f"A role named {row['name']} exists already.")

    write(work)
    return web.answer({"role": shown(row)}, 201)


@blueprint.patch("/v3/roles/<ident>")
def update_role(ident: str) -> Response:
    admin()
    given = web.document("role")

    def work(db: sqlite3.Connection) -> store.Row:
        row = found(db, "roles", ident)
        row["name"] = check.text(given, "name", row["name"], least=1)
        row["description"] = check.text(given, "description", row["description"], most=65535, null=True) or ""
        try:
            store.update(db, "roles", row, id=ident)
        except sqlite3.IntegrityError as error:
            raise conflict(f"A role named {row['name']} exists already.") from error
        return row

    return web.answer({"role": shown(write(work))})


@blueprint.delete("/v3/roles/<ident>")
def delete_role(ident: str) -> Response:
    admin()

    def work(db: sqlite3.Connection) -> None:
        row = found(db, "roles", ident)
        if row["name"] == "admin" and row["domain_id"] is None:
            raise forbidden("The role admin is what all administration rests on; it cannot be deleted.")
        store.delete(db, "roles", id=ident)

    write(work)
    return web.empty()


def _brief(row: store.Row) -> dict[str, Any]:
    return {"id": row["id"], "name": row["name"], "links": {"self": link(f"roles/{row['id']}")}}


def _inference(db: sqlite3.Connection, prior: store.Row) -> dict[str, Any]:
    rows = db.execute(
        "SELECT roles.* FROM roles JOIN implied_roles ON implied_id = roles.id WHERE prior_id = ?",
        (prior["id"],),
    )
    return {"prior_role": _brief(prior), "implies": [_brief(row) for row in rows]}


@blueprint.get("/v3/roles/<ident>/implies")
def list_implied(ident: str) -> Response:
    reader()
    inference = read(lambda db: _inference(db, found(db, "roles", ident)))
    return web.answer({"role_inference": inference, "links": {"self": link(f"roles/{ident}/implies")}})


@blueprint.get("/v3/role_inferences")
def list_inferences() -> Response:
    reader()
    every = read(lambda db: [_inference(db, row) for row in store.select(db, "roles")])
    return listing("role_inferences", [entry for entry in every if entry["implies"]])


@blueprint.route("/v3/roles/<ident>/implies/<implied_id>", methods=["GET", "PUT", "DELETE"])
def implication(ident: str, implied_id: str) -> Response:
    """HEAD asks whether it is there."""
    admin()

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        prior, implied = found(db, "roles", ident), found(db, "roles", implied_id)
        row = {"prior_id": ident, "implied_id": implied_id}
        if request.method == "PUT":
            if ident in roles_held.implied(db, implied_id):
                raise forbidden(f"Role {implied['name']} already leads to {prior['name']}.")
            store.insert(db, "implied_roles", row, ignore=True)
        elif not store.find(db, "implied_roles", **row):
            raise missing("Implied role", implied_id)
        elif request.method == "DELETE":
            store.delete(db, "implied_roles", **row)
        return {"role_inference": {"prior_role": _brief(prior), "implies": _brief(implied)}}

    if request.method == "HEAD":
        read(work)
        return web.empty()
    if request.method == "GET":
        return web.answer(read(work))
    body = write(work)
    return web.answer(body, 201) if request.method == "PUT" else web.empty()
