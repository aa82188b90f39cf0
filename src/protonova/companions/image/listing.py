"""The list of images: who sees which, filters, sorting, pages."""

import sqlite3
from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from protonova.companions import check, clock, paging, store, web
from protonova.companions.caller import Caller, caller
from protonova.companions.fault import bad
from protonova.companions.image.properties import VISIBILITIES
from protonova.companions.image.routes import blueprint, read, shown

_SORTABLE = {
    "name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at", "owner",
    "visibility", "min_disk", "min_ram", "checksum", "virtual_size", "protected",
}  # fmt: skip
_EXACT = ("owner", "checksum", "os_hash_algo", "os_hash_value")
_LISTED = ("id", "name", "status", "container_format", "disk_format")
_SIZES = {"size_min": ("size", ">="), "size_max": ("size", "<=")}
_COMPARISONS = {"gt": ">", "gte": ">=", "eq": "=", "neq": "!=", "lt": "<", "lte": "<="}
_PAGING = {"limit", "marker", "sort", "sort_key", "sort_dir", "member_status"}


def _seen(who: Caller) -> store.Where:
    args = request.args
    where = store.Where().add("status != 'deleted'")
    visibility = args.get("visibility")
    status = args.get("member_status", "accepted")
    if status not in ("pending", "accepted", "rejected", "all"):
        raise bad("'member_status' must be one of pending, accepted, rejected, all.")
    if visibility is not None and visibility not in (*VISIBILITIES, "all"):
        raise bad(f"'visibility' must be one of {', '.join(VISIBILITIES)}, all.")
    if visibility not in (None, "all"):
        where.equals("visibility", visibility)
    if who.is_admin and not (visibility == "shared" and "member_status" in args):
        return where
    shared = "EXISTS (SELECT 1 FROM image_members m WHERE m.image_id = images.id AND m.member_id = ?"
    shared += ")" if status == "all" else " AND m.status = ?)"
    values = [who.project_id] if status == "all" else [who.project_id, status]
    open_to_all = "visibility = 'public'"
    if visibility in ("community", "all"):
        open_to_all += " OR visibility = 'community'"
    where.add(
        f"owner IS ? OR {open_to_all} OR (visibility = 'shared' AND {shared})", who.project_id or "-", *values
    )
    return where


def _values(text: str) -> list[str]:
    """`in:a,"b,c"` is any of several; anything else is one value."""
    if not text.startswith("in:"):
        return [text]
    values, rest = [], text[3:]
    while rest:
        if rest.startswith('"'):
            end = rest.find('"', 1)
            if end < 0:
                raise bad("A quoted value of a filter is not closed.")
            values.append(rest[1:end])
            rest = rest[end + 1 :]
            if rest and not rest.startswith(","):
                raise bad("Values of a filter are separated by commas.")
            rest = rest[1:]
        else:
            value, _, rest = rest.partition(",")
            values.append(value)
    return values


def _moment(where: store.Where, name: str, text: str) -> None:
    operator, _, rest = text.partition(":")
    if operator not in _COMPARISONS:
        operator, rest = "eq", text
    try:
        # The API shows whole seconds, and compares what it shows.
        stamp = clock.parse(rest) // 1_000_000
    except ValueError as error:
        raise bad(f"'{name}' must be a time in ISO 8601.") from error
    where.add(f"{name} / 1000000 {_COMPARISONS[operator]} ?", stamp)


def _filter(where: store.Where, name: str, text: str) -> None:
    if name in _LISTED:
        where.among(name, _values(text))
    elif name in _EXACT:
        where.equals(name, text)
    elif name in ("protected", "os_hidden"):
        where.equals(name, int(web.flag(name, text)))
    elif name in _SIZES:
        column, comparison = _SIZES[name]
        where.add(f"{column} {comparison} ?", check.whole(name, text, 0))
    elif name in ("min_disk", "min_ram", "size", "virtual_size"):
        where.equals(name, check.whole(name, text, 0))
    elif name in ("created_at", "updated_at"):
        _moment(where, name, text)
    elif name == "tag":
        where.add("EXISTS (SELECT 1 FROM image_tags t WHERE t.image_id = images.id AND t.value = ?)", text)
    elif name != "visibility":
        entry = "SELECT 1 FROM json_each(properties) WHERE key = ? AND json_each.value = ?"
        where.add(f"EXISTS ({entry})", name, text)


def _order() -> paging.Order:
    args = request.args
    if "sort" in args:
        if "sort_key" in args or "sort_dir" in args:
            raise bad("'sort' does not go together with 'sort_key' and 'sort_dir'.")
        return paging.order(paging.pairs(args["sort"], "desc"), _SORTABLE)
    keys, directions = args.getlist("sort_key"), args.getlist("sort_dir")
    keys = keys or ["created_at"]
    if len(directions) > 1 and len(directions) != len(keys):
        raise bad("There must be one 'sort_dir', or one for each 'sort_key'.")
    directions = directions or ["desc"]
    paired = zip(keys, directions if len(directions) > 1 else directions * len(keys), strict=True)
    return paging.order(paired, _SORTABLE)


@blueprint.get("/v2/images")
def list_images() -> Response:
    who = caller()
    limit = web.page_limit(1000, 25)
    where, sorting = _seen(who), _order()
    if "os_hidden" not in request.args:
        where.equals("os_hidden", 0)
    for name, text in request.args.items(multi=True):
        if name not in _PAGING:
            _filter(where, name, text)

    def work(db: sqlite3.Connection) -> list[dict[str, Any]]:
        if "marker" in request.args:
            marker = store.find(db, "images", id=request.args["marker"])
            if marker is None or marker["status"] == "deleted":
                raise bad(f"There is no image {request.args['marker']} to continue after.")
            paging.after(where, sorting, marker)
        rows = store.select(db, "images", where, f"{paging.clause(sorting)} LIMIT {limit}")
        return [shown(db, row) for row in rows]

    images = read(work)
    body: dict[str, Any] = {"images": images, "schema": "/v2/schemas/images", "first": _address()}
    if images and len(images) == limit:
        body["next"] = _address(marker=images[-1]["id"])
    return web.answer(body)


def _address(**more: str) -> str:
    given = [(name, text) for name, text in request.args.items(multi=True) if name != "marker"]
    query = urlencode([*given, *more.items()])
    return f"/v2/images?{query}" if query else "/v2/images"
