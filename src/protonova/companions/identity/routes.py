"""The blueprint of Identity and what its handlers share: the caller, listings, links."""

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

from flask import Blueprint, Response, request

from protonova.companions import store, web
from protonova.companions.caller import caller
from protonova.companions.cloud import cloud
from protonova.companions.fault import bad, forbidden, missing

blueprint = Blueprint("identity", __name__)

View = Callable[[store.Row], dict[str, Any]]


def read(work: Callable[..., Any]) -> Any:
    return cloud().identity.read(work)


def write(work: Callable[..., Any]) -> Any:
    return cloud().identity.write(work)


def link(path: str) -> str:
    return f"{cloud().settings.public_url}/identity/v3/{path}"


def admin() -> None:
    caller().require_admin()


def admin_or_self(user_id: str) -> None:
    if caller().user_id != user_id:
        admin()


def reader() -> None:
    """Administrators and services may look at everything."""
    if not caller().is_privileged:
        raise forbidden()


def listing(name: str, items: Iterable[dict[str, Any]]) -> Response:
    links = {"self": link(request.path.removeprefix("/identity/v3/")), "previous": None, "next": None}
    return web.answer({name: list(items), "links": links})


def filters(*columns: str, flags: tuple[str, ...] = ()) -> store.Where:
    """Conditions from the query string, for the columns named and no other."""
    where = store.Where()
    for column in columns:
        if column in request.args:
            where.equals(column, request.args[column] or None)
    for column in flags:
        if column in request.args:
            where.equals(column, int(web.flag(column, request.args[column])))
    if "name__contains" in request.args and "name" in columns:
        where.add("instr(name, ?) > 0", request.args["name__contains"])
    return where


def found(db: sqlite3.Connection, table: str, ident: str) -> store.Row:
    row = store.find(db, table, id=ident)
    if row is None:
        raise missing(table.removesuffix("s").replace("_", " ").capitalize(), ident)
    return row


def identifier(document: dict[str, Any], name: str) -> Any:
    """A reference to another entity: its id as a string, or nothing."""
    value = document.get(name)
    if value is not None and (not isinstance(value, str) or len(value) > 64):
        raise bad(f"'{name}' must be an id.")
    return value
