"""The blueprint of Network and what its resources share: finding one, listing many, answering."""

import sqlite3
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from protonova.companions import paging, store, web
from protonova.companions.caller import Caller, caller
from protonova.companions.cloud import cloud
from protonova.companions.network.fault import invalid
from protonova.companions.network.resource import Kind, Special

blueprint = Blueprint("network", __name__)

View = Callable[[sqlite3.Connection, store.Row], dict[str, Any]]
_PAGING = {"fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir"}


def read(work: Callable[..., Any]) -> Any:
    return cloud().network.read(work)


def write(work: Callable[..., Any]) -> Any:
    return cloud().network.write(work)


def writer() -> Caller:
    """The caller, who is about to change something."""
    who = caller()
    who.require_member()
    return who


def owned(who: Caller) -> store.Where:
    """Everything for administrators and services; else what belongs to the caller's project."""
    return store.Where() if who.is_privileged else store.Where(project_id=who.project_id)


def mine(db: sqlite3.Connection, kind: Kind, who: Caller, ident: str) -> store.Row:
    """A resource the caller owns or administrates; to others it does not exist."""
    row = store.find(db, kind.plural, id=ident)
    if row is None or not (who.is_privileged or row["project_id"] == who.project_id):
        raise kind.missing(ident)
    return row


def one(kind: Kind, who: Caller, body: dict[str, Any], status: int = 200) -> Response:
    return web.answer({kind.singular: kind.presented(who, body)}, status)


def created(kind: Kind, who: Caller, bodies: list[dict[str, Any]], bulk: bool) -> Response:
    shown = [kind.presented(who, body) for body in bodies]
    return web.answer({kind.plural: shown} if bulk else {kind.singular: shown[0]}, 201)


def listed(
    kind: Kind, who: Caller, where: store.Where, view: View, special: Special | None = None
) -> Response:
    filtered(kind, where, special or {})
    sorting, tail = _page(kind)

    def work(db: sqlite3.Connection) -> list[dict[str, Any]]:
        order = sorting
        if request.args.get("page_reverse", "").lower() == "true":
            order = paging.turned(sorting)
        marker = request.args.get("marker")
        if marker:
            row = store.find(db, kind.plural, id=marker)
            if row is None:
                raise invalid(f"There is no {kind.singular} {marker} to continue after.")
            paging.after(where, order, row)
        rows = store.select(db, kind.plural, where, f"{paging.clause(order)} {tail}")
        if order is not sorting:
            rows.reverse()
        return [view(db, row) for row in rows]

    bodies = read(work)
    document: dict[str, Any] = {kind.plural: [kind.presented(who, body) for body in bodies]}
    if tail:
        document[f"{kind.plural}_links"] = _links(bodies)
    return web.answer(document)


def filtered(kind: Kind, where: store.Where, special: Special) -> None:
    """Conditions from the query string; what is no attribute is no filter."""
    for name in request.args:
        texts = request.args.getlist(name)
        column = "project_id" if name == "tenant_id" else name
        if name in _PAGING:
            continue
        if name in special:
            special[name](where, texts)
        elif name in _TAGS:
            _tagged(where, name, texts)
        elif column in kind.flags:
            where.among(column, [int(web.flag(name, text)) for text in texts])
        elif column in _sortable(kind) | {"revision_number"}:
            _equal(where, column, texts)


def _equal(where: store.Where, column: str, texts: list[str]) -> None:
    """The empty text also finds what is not set."""
    marks = ", ".join("?" * len(texts))
    where.add(f"ifnull(\"{column}\", '') IN ({marks})" if "" in texts else f'"{column}" IN ({marks})', *texts)


_TAGS = {"tags": "", "tags-any": "", "not-tags": "NOT", "not-tags-any": "NOT"}


def _tagged(where: store.Where, name: str, texts: list[str]) -> None:
    tags = [tag for text in texts for tag in text.split(",") if tag]
    has = "EXISTS (SELECT 1 FROM json_each(tags) WHERE json_each.value = ?)"
    joined = (" OR " if name.endswith("any") else " AND ").join([has] * len(tags))
    if tags:
        where.add(f"{_TAGS[name]} ({joined})", *tags)


def _sortable(kind: Kind) -> set[str]:
    """Attributes with a column of their own that compares."""
    common = {"id", "project_id", "tenant_id", "created_at", "updated_at"} | (
        {"status"} if kind.has_status else set()
    )
    return {name for name, attribute in kind.attributes.items() if attribute.kept} - kind.documents | common


def _page(kind: Kind) -> tuple[paging.Order, str]:
    args = request.args
    keys, directions = args.getlist("sort_key"), args.getlist("sort_dir")
    if directions and len(directions) != len(keys):
        raise invalid("There must be as many 'sort_dir' as 'sort_key'.")
    paired = zip(keys, directions or ["asc"] * len(keys), strict=True)
    sorting = paging.order(paired, _sortable(kind), {"tenant_id": "project_id"})
    limit = web.page_limit(1_000_000, 0)
    return sorting, f"LIMIT {limit}" if limit else ""


def _links(bodies: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Where the neighbouring pages are."""
    links = []
    base = f"{cloud().settings.public_url}{request.path}"
    given = [
        (name, text)
        for name, text in request.args.items(multi=True)
        if name not in ("marker", "page_reverse")
    ]
    limit = int(request.args["limit"])
    if bodies and len(bodies) == limit:
        query = urlencode([*given, ("marker", bodies[-1]["id"])])
        links.append({"rel": "next", "href": f"{base}?{query}"})
    if bodies and "marker" in request.args:
        query = urlencode([*given, ("marker", bodies[0]["id"]), ("page_reverse", "True")])
        links.append({"rel": "previous", "href": f"{base}?{query}"})
    return links
