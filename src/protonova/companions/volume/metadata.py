"""Metadata of volumes and of snapshots: maps of strings."""

import sqlite3

import orjson
from flask import Response, request

from protonova.companions import check, store, web
from protonova.companions.caller import caller
from protonova.companions.fault import Fault, bad
from protonova.companions.project_routes import writer
from protonova.companions.volume.routes import found, now, read, route, write

_TABLES = "<any(volumes, snapshots):table>/<ident>/metadata"


def _held(db: sqlite3.Connection, table: str, ident: str) -> dict[str, str]:
    held: dict[str, str] = orjson.loads(found(db, table, ident)["metadata"])
    return held


def _keep(db: sqlite3.Connection, table: str, ident: str, metadata: dict[str, str]) -> dict[str, str]:
    store.update(db, table, {"metadata": orjson.dumps(metadata).decode(), **now()}, id=ident)
    return metadata


@route(f"/{_TABLES}")
def show_metadata(table: str, ident: str) -> Response:
    caller()
    return web.answer({"metadata": read(lambda db: _held(db, table, ident))})


@route(f"/{_TABLES}", "POST", "PUT")
def change_metadata(table: str, ident: str) -> Response:
    """POST adds, PUT replaces."""
    writer()
    given = check.strings("metadata", web.document("metadata"))

    def work(db: sqlite3.Connection) -> dict[str, str]:
        before = _held(db, table, ident) if request.method == "POST" else {}
        found(db, table, ident)
        return _keep(db, table, ident, {**before, **given})

    return web.answer({"metadata": write(work)})


@route(f"/{_TABLES}/<key>", "GET", "PUT", "DELETE")
def one_entry(table: str, ident: str, key: str) -> Response:
    caller()
    given: dict[str, str] = {}
    if request.method == "PUT":
        given = check.strings("meta", web.document("meta"))
        if list(given) != [key]:
            raise bad("The body and the address must name the same key.")

    def work(db: sqlite3.Connection) -> dict[str, str]:
        held = _held(db, table, ident)
        if request.method == "PUT":
            return _keep(db, table, ident, {**held, **given})
        if key not in held:
            raise Fault(404, f"There is no metadata {key}.")
        if request.method == "DELETE":
            _keep(db, table, ident, {name: value for name, value in held.items() if name != key})
        return held

    if request.method in ("GET", "HEAD"):
        return web.answer({"meta": {key: read(work)[key]}})
    writer()
    held = write(work)
    return web.answer({"meta": {key: held[key]}}) if request.method == "PUT" else web.empty(200)
