"""The blueprint of Share. Every address is served with the project's id in it and without."""

import sqlite3
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request

from protonova.companions import check, store, web
from protonova.companions.caller import Caller, caller
from protonova.companions.cloud import cloud
from protonova.companions.fault import Fault, bad
from protonova.companions.share import microversion

blueprint = Blueprint("share", __name__)
blueprint.before_request(microversion.choose)
blueprint.after_request(microversion.echo)

Handler = Callable[..., Response]


def route(rule: str, *methods: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        for prefix in ("/v2", "/v2/<string(length=32):project_id>"):
            blueprint.add_url_rule(
                f"{prefix}{rule}", handler.__name__, handler, methods=list(methods) or ["GET"]
            )
        return handler

    return register


@blueprint.url_value_preprocessor
def _project_of_path(_: str | None, values: dict[str, Any] | None) -> None:
    project_id = (values or {}).pop("project_id", None)
    if project_id and values is not None and not caller().is_privileged and caller().project_id != project_id:
        raise bad("The project in the address is not the one of the token.")


def read(work: Callable[..., Any]) -> Any:
    return cloud().share.read(work)


def write(work: Callable[..., Any]) -> Any:
    return cloud().share.write(work)


def writer() -> Caller:
    who = caller()
    who.require_member()
    return who


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
