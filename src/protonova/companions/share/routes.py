"""The blueprint of Share. Every address is served with the project's id in it and without."""

import sqlite3
from collections.abc import Callable
from typing import Any

from flask import Blueprint, request

from protonova.companions import check, store, web
from protonova.companions.caller import caller
from protonova.companions.cloud import cloud
from protonova.companions.fault import Fault
from protonova.companions.project_routes import ProjectRoutes
from protonova.companions.share import microversion

blueprint = Blueprint("share", __name__)
blueprint.before_request(microversion.choose)
blueprint.after_request(microversion.echo)

route = ProjectRoutes(blueprint, "/v2")


def read(work: Callable[..., Any]) -> Any:
    return cloud().share.read(work)


def write(work: Callable[..., Any]) -> Any:
    return cloud().share.write(work)


def link(path: str) -> str:
    return f"{cloud().settings.public_url}/share/v2/{path}"


def links(path: str) -> list[dict[str, str]]:
    bookmark = f"{cloud().settings.public_url}/share/{path}"
    return [{"rel": "self", "href": link(path)}, {"rel": "bookmark", "href": bookmark}]


def found_share(db: sqlite3.Connection, ident: str, *, to_change: bool = False) -> store.Row:
    """One of the caller's project, or one that is everybody's to look at; to others it does not exist."""
    row = store.find(db, "shares", id=ident)
    mine = row is not None and (caller().is_privileged or row["project_id"] == caller().project_id)
    if row is None or not (mine or (row["is_public"] and not to_change)):
        raise Fault(404, f"Share {ident} could not be found.")
    return row


def everything(parameter: str) -> bool:
    """Whether an administrator asks for all projects' things."""
    given = request.args.get(parameter)
    return given is not None and caller().is_privileged and web.yes(given)


def window() -> str:
    """The end of a statement that lists: as many as asked for, from where asked for."""
    offset = check.whole("offset", request.args.get("offset", "0"), 0, 2**31 - 1)
    return f"LIMIT {web.page_limit(1000)} OFFSET {offset}"
