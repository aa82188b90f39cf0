"""Members: projects with which a shared image is shared. The owner adds them; each decides about its own status."""

import sqlite3
from typing import Any

from flask import Response

from protonova.companions import check, clock, store, web
from protonova.companions.caller import caller
from protonova.companions.fault import bad, conflict, forbidden, missing
from protonova.companions.image.routes import blueprint, changeable, read, visible, write

_STATUSES = ("pending", "accepted", "rejected")


def _shown(row: store.Row) -> dict[str, Any]:
    return {
        "image_id": row["image_id"],
        "member_id": row["member_id"],
        "status": row["status"],
        "created_at": clock.zulu(row["created_at"]),
        "updated_at": clock.zulu(row["updated_at"]),
        "schema": "/v2/schemas/member",
    }


def _shared(row: store.Row) -> store.Row:
    if row["visibility"] != "shared":
        raise forbidden("Only a shared image has members.")
    return row


@blueprint.get("/v2/images/<ident>/members")
def list_members(ident: str) -> Response:
    caller()

    def work(db: sqlite3.Connection) -> list[store.Row]:
        image = _shared(visible(db, ident))
        where = store.Where(image_id=ident)
        if not caller().owns(image["owner"]):
            where.equals("member_id", caller().project_id)
        return store.select(db, "image_members", where, "ORDER BY created_at, member_id")

    return web.answer({"members": [_shown(row) for row in read(work)], "schema": "/v2/schemas/members"})


@blueprint.post("/v2/images/<ident>/members")
def add_member(ident: str) -> Response:
    caller()
    member_id = check.text(web.document(), "member", least=1)
    now = clock.now()
    row = {
        "image_id": ident,
        "member_id": member_id,
        "status": "pending",
        "created_at": now,
        "updated_at": now,
    }

    def work(db: sqlite3.Connection) -> None:
        _shared(changeable(db, ident))
        if not store.insert(db, "image_members", row, ignore=True):
            raise conflict(f"Project {member_id} is a member of image {ident} already.")

    write(work)
    return web.answer(_shown(row))


def _member(db: sqlite3.Connection, ident: str, member_id: str) -> store.Row:
    image = _shared(visible(db, ident))
    row = store.find(db, "image_members", image_id=ident, member_id=member_id)
    if row is None or not (caller().owns(image["owner"]) or caller().project_id == member_id):
        raise missing("Member", member_id)
    return row


@blueprint.get("/v2/images/<ident>/members/<member_id>")
def show_member(ident: str, member_id: str) -> Response:
    caller()
    return web.answer(_shown(read(lambda db: _member(db, ident, member_id))))


@blueprint.put("/v2/images/<ident>/members/<member_id>")
def update_member(ident: str, member_id: str) -> Response:
    who = caller()
    status = web.document().get("status")
    if status not in _STATUSES:
        raise bad(f"'status' must be one of {', '.join(_STATUSES)}.")

    def work(db: sqlite3.Connection) -> store.Row:
        row = _member(db, ident, member_id)
        if who.project_id != member_id and not who.is_admin:
            raise forbidden("The status of a member is decided by the member.")
        row.update(status=status, updated_at=clock.now())
        store.update(db, "image_members", row, image_id=ident, member_id=member_id)
        return row

    return web.answer(_shown(write(work)))


@blueprint.delete("/v2/images/<ident>/members/<member_id>")
def remove_member(ident: str, member_id: str) -> Response:
    caller()

    def work(db: sqlite3.Connection) -> None:
        _shared(changeable(db, ident))
        if not store.delete(db, "image_members", image_id=ident, member_id=member_id):
            raise missing("Member", member_id)

    write(work)
    return web.empty()
