"""The blueprint of Volume. Every address is served with the project's id in it and without."""

import sqlite3
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import urlencode

import orjson
from flask import Blueprint, Response, request

from protonova.companions import check, clock, paging, store, web
from protonova.companions.caller import caller
from protonova.companions.cloud import cloud
from protonova.companions.fault import Fault, bad
from protonova.companions.project_routes import ProjectRoutes
from protonova.companions.volume import microversion

blueprint = Blueprint("volume", __name__)
blueprint.before_request(microversion.choose)
blueprint.after_request(microversion.echo)

route = ProjectRoutes(blueprint, "/v3")


def read(work: Callable[..., Any]) -> Any:
    return cloud().volume.read(work)


def write(work: Callable[..., Any]) -> Any:
    return cloud().volume.write(work)


def link(path: str) -> str:
    return f"{cloud().settings.public_url}/volume/v3/{path}"


def links(path: str) -> list[dict[str, str]]:
    bookmark = f"{cloud().settings.public_url}/volume/{path}"
    return [{"rel": "self", "href": link(path)}, {"rel": "bookmark", "href": bookmark}]


def found(db: sqlite3.Connection, table: str, ident: str) -> store.Row:
    """Something of the caller's project; to others it does not exist."""
    row = store.find(db, table, id=ident)
    if row is None or not (caller().is_privileged or row["project_id"] == caller().project_id):
        raise Fault(404, f"{table.removesuffix('s').capitalize()} {ident} could not be found.")
    return row


def within(column: str = "project_id") -> store.Where:
    """The caller's project, or all of them for an administrator who says so."""
    who = caller()
    args = request.args
    everything = who.is_privileged and "all_tenants" in args and web.yes(args["all_tenants"])
    if not everything:
        return store.Where(**{column: who.project_id})
    where = store.Where()
    if "project_id" in args:
        where.equals(column, args["project_id"])
    return where


def page(
    table: str,
    where: store.Where,
    sortable: Collection[str],
    view: Callable[[sqlite3.Connection, store.Row], dict[str, Any]],
    collection: str,
) -> Response:
    """A page of a list, newest first unless asked otherwise, with a link to the next."""
    args = request.args
    limit = web.page_limit(1000)
    offset = check.whole("offset", args.get("offset", "0"), 0, 2**31 - 1)
    wanted = paging.pairs(args["sort"], "desc") if "sort" in args else []
    if not wanted:
        wanted = [(args.get("sort_key", "created_at"), args.get("sort_dir", "desc"))]
    sorting = paging.order(wanted, sortable, {"display_name": "name"})

    def work(db: sqlite3.Connection) -> tuple[int, list[dict[str, Any]]]:
        total = 0
        if "with_count" in args and microversion.at_least(45) and web.yes(args["with_count"]):
            total = db.execute(f"SELECT count(*) AS n FROM {table}{where.text}", where.values).fetchone()["n"]  # noqa: S608
        if "marker" in args:
            marker = store.find(db, table, id=args["marker"])
            if marker is None:
                raise Fault(404, f"There is no {collection[:-1]} {args['marker']} to continue after.")
            paging.after(where, sorting, marker)
        tail = f"{paging.clause(sorting)} LIMIT {limit} OFFSET {offset}"
        return total, [view(db, row) for row in store.select(db, table, where, tail)]

    total, bodies = read(work)
    document: dict[str, Any] = {collection: bodies}
    if bodies and len(bodies) == limit:
        given = [(name, text) for name, text in args.items(multi=True) if name not in ("marker", "offset")]
        query = urlencode([*given, ("marker", bodies[-1]["id"])])
        href = f"{cloud().settings.public_url}{request.path}?{query}"
        document[f"{collection}_links"] = [{"rel": "next", "href": href}]
    if "with_count" in args and microversion.at_least(45) and web.yes(args["with_count"]):
        document["count"] = total
    return web.answer(document)


def filter_metadata(where: store.Where, text: str) -> None:
    """`{'key': 'value'}`, written as JSON or as clients print a dictionary."""
    try:
        wanted = orjson.loads(text.replace("'", '"'))
    except orjson.JSONDecodeError as error:
        raise bad("'metadata' must be an object of strings.") from error
    for key, value in check.strings("metadata", wanted).items():
        entry = "SELECT 1 FROM json_each(metadata) WHERE key = ? AND json_each.value = ?"
        where.add(f"EXISTS ({entry})", key, value)


def action(names: Collection[str]) -> tuple[str, dict[str, Any]]:
    """The one action that the body of a request names, with what it says."""
    body = web.document()
    named = [name for name in body if name in names]
    if len(named) != 1:
        raise bad("The body must name one action that is served here.")
    inner = body[named[0]]
    if inner is not None and not isinstance(inner, dict):
        raise bad(f"'{named[0]}' must be an object.")
    return named[0], inner or {}


def now() -> dict[str, int]:
    return {"updated_at": clock.now()}
