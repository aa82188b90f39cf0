"""Tags of any resource of Network that can have them."""

import sqlite3
from typing import Any

import orjson
from flask import Response, request

from protonova.companions import store, web
from protonova.companions.caller import caller
from protonova.companions.fault import Fault
from protonova.companions.network import values
from protonova.companions.network.floatingips import FLOATING_IP
from protonova.companions.network.networks import NETWORK
from protonova.companions.network.ports import PORT
from protonova.companions.network.resource import touched
from protonova.companions.network.routers import ROUTER
from protonova.companions.network.routes import blueprint, mine, read, write, writer
from protonova.companions.network.security_group_rules import RULE
from protonova.companions.network.security_groups import GROUP
from protonova.companions.network.subnets import SUBNET

_KINDS = {
    kind.plural.replace("_", "-"): kind for kind in (NETWORK, SUBNET, PORT, ROUTER, FLOATING_IP, GROUP, RULE)
}
_PATH = f"/v2.0/<any({', '.join(repr(name) for name in _KINDS)}):plural>/<ident>/tags"


def _tags(db: sqlite3.Connection, plural: str, ident: str) -> list[str]:
    tags: list[str] = orjson.loads(mine(db, _KINDS[plural], caller(), ident)["tags"])
    return tags


def _keep(db: sqlite3.Connection, plural: str, ident: str, tags: list[str]) -> None:
    kind = _KINDS[plural]
    row = mine(db, kind, caller(), ident)
    store.update(db, kind.plural, {"tags": orjson.dumps(tags).decode(), **touched(row)}, id=ident)


@blueprint.get(_PATH)
def list_tags(plural: str, ident: str) -> Response:
    caller()
    return web.answer({"tags": read(lambda db: _tags(db, plural, ident))})


@blueprint.put(_PATH)
def replace_tags(plural: str, ident: str) -> Response:
    writer()
    given: list[Any] = values.tags("tags", web.document().get("tags"))
    write(lambda db: _keep(db, plural, ident, given))
    return web.answer({"tags": given})


@blueprint.post(_PATH)
def add_tags(plural: str, ident: str) -> Response:
    writer()
    given: list[Any] = values.tags("tags", web.document().get("tags"))

    def work(db: sqlite3.Connection) -> list[str]:
        tags = list(dict.fromkeys([*_tags(db, plural, ident), *given]))
        _keep(db, plural, ident, tags)
        return tags

    return web.answer({"tags": write(work)})


@blueprint.delete(_PATH)
def clear_tags(plural: str, ident: str) -> Response:
    writer()
    write(lambda db: _keep(db, plural, ident, []))
    return web.empty()


@blueprint.route(f"{_PATH}/<tag>", methods=["GET", "PUT", "DELETE"])
def one_tag(plural: str, ident: str, tag: str) -> Response:
    """GET stands for HEAD too: is the tag there?"""
    caller()
    values.text()("tag", tag)

    def work(db: sqlite3.Connection) -> None:
        tags = _tags(db, plural, ident)
        if request.method == "PUT":
            _keep(db, plural, ident, list(dict.fromkeys([*tags, tag])))
        elif tag not in tags:
            raise Fault(404, f"Tag {tag} could not be found.", "TagNotFound")
        elif request.method == "DELETE":
            _keep(db, plural, ident, [kept for kept in tags if kept != tag])

    if request.method in ("GET", "HEAD"):
        read(work)
        return web.empty()
    writer()
    write(work)
    return web.empty(201 if request.method == "PUT" else 204)
