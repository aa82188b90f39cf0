"""Volume types. There is always one, by the name of DEFAULT; what a volume may do beyond it, extra specs tell."""

import sqlite3
from typing import Any

import orjson
from flask import Response

from protonova.companions import check, store, web
from protonova.companions.caller import caller
from protonova.companions.fault import Fault, bad, conflict
from protonova.companions.volume import microversion
from protonova.companions.volume.routes import action, read, route, write

DEFAULT = "__DEFAULT__"


def seed(db: sqlite3.Connection) -> None:
    row = {"id": web.new_id(), "name": DEFAULT, "description": "Files on one machine", "is_public": 1}
    store.insert(db, "volume_types", {**row, "extra_specs": "{}"}, ignore=True)


def shown(row: store.Row) -> dict[str, Any]:
    body = {
        "id": row["id"],
        "name": row["name"],
        "description": row["description"],
        "is_public": bool(row["is_public"]),
        "os-volume-type-access:is_public": bool(row["is_public"]),
        "qos_specs_id": None,
    }
    specs = orjson.loads(row["extra_specs"])
    body["extra_specs"] = specs if caller().is_privileged else {}
    return body


def found(db: sqlite3.Connection, ident: str) -> store.Row:
    """By id; `default` is the default one."""
    row = store.find(db, "volume_types", name=DEFAULT) if ident == "default" else None
    row = row or store.find(db, "volume_types", id=ident)
    if row is None or not _open(db, row):
        raise Fault(404, f"Volume type {ident} could not be found.")
    return row


def _open(db: sqlite3.Connection, row: store.Row) -> bool:
    """A type is for everybody, or for the projects it was opened to."""
    access = {"volume_type_id": row["id"], "project_id": caller().project_id}
    return bool(
        row["is_public"] or caller().is_privileged or store.find(db, "volume_type_projects", **access)
    )


def chosen(db: sqlite3.Connection, wanted: Any) -> store.Row:
    """The type a request for a volume names, by id or by name; the default one when it names none."""
    if wanted is None:
        return found(db, "default")
    if not isinstance(wanted, str):
        raise bad("'volume_type' must be a name or an id.")
    row = store.find(db, "volume_types", name=wanted)
    return row if row and _open(db, row) else found(db, wanted)


def allows_multiattach(row: store.Row) -> bool:
    return bool(orjson.loads(row["extra_specs"]).get("multiattach", "") == "<is> True")


@route("/types")
def list_types() -> Response:
    where = store.Where()
    if not caller().is_admin:
        opened = "SELECT volume_type_id FROM volume_type_projects WHERE project_id = ?"
        where.add(f"is_public OR id IN ({opened})", caller().project_id)
    rows = read(lambda db: store.select(db, "volume_types", where, "ORDER BY name"))
    return web.answer({"volume_types": [shown(row) for row in rows]})


@route("/types/<ident>")
def show_type(ident: str) -> Response:
    caller()
    return web.answer({"volume_type": shown(read(lambda db: found(db, ident)))})


def _row(given: dict[str, Any], row: store.Row) -> store.Row:
    access = {
        "is_public": given.get("os-volume-type-access:is_public", given.get("is_public", row["is_public"]))
    }
    return {
        **row,
        "name": check.text(given, "name", row.get("name", check.ABSENT), least=1, null="name" in row)
        or row["name"],
        "description": check.text(given, "description", row["description"], null=True),
        "is_public": int(check.flag(access, "is_public")),
    }


def _named_twice(name: str) -> Fault:
    return conflict(f"A volume type named {name} exists already.")


@route("/types", "POST")
def create_type() -> Response:
    caller().require_admin()
    given = web.document("volume_type")
    row = _row(given, {"id": web.new_id(), "description": None, "is_public": True, "extra_specs": "{}"})
    specs = check.strings("extra_specs", given.get("extra_specs") or {})
    row["extra_specs"] = orjson.dumps(specs).decode()

    def work(db: sqlite3.Connection) -> None:
        if not store.insert(db, "volume_types", row, ignore=True):
            raise _named_twice(row["name"])

    write(work)
    body = shown(row)
    del body["qos_specs_id"]
    return web.answer({"volume_type": body})


@route("/types/<ident>", "PUT")
def update_type(ident: str) -> Response:
    caller().require_admin()
    given = web.document("volume_type")

    def work(db: sqlite3.Connection) -> store.Row:
        before = found(db, ident)
        row = _row(given, before)
        if before["name"] == DEFAULT and row["name"] != DEFAULT:
            raise bad("The default volume type keeps its name.")
        try:
            store.update(db, "volume_types", row, id=row["id"])
        except sqlite3.IntegrityError as error:
            raise _named_twice(row["name"]) from error
        return row

    body = shown(write(work))
    for name in ("os-volume-type-access:is_public", "qos_specs_id"):
        del body[name]
    return web.answer({"volume_type": body})


@route("/types/<ident>", "DELETE")
def delete_type(ident: str) -> Response:
    caller().require_admin()

    def work(db: sqlite3.Connection) -> None:
        row = found(db, ident)
        if row["name"] == DEFAULT or store.count(db, "volumes", volume_type_id=row["id"]):
            raise bad(f"Volume type {row['name']} is in use.")
        store.delete(db, "volume_types", id=row["id"])

    write(work)
    return web.empty(202)


@route("/types/<ident>/extra_specs")
def list_specs(ident: str) -> Response:
    caller().require_admin()
    return web.answer({"extra_specs": orjson.loads(read(lambda db: found(db, ident))["extra_specs"])})


@route("/types/<ident>/extra_specs", "POST")
def add_specs(ident: str) -> Response:
    caller().require_admin()
    given = check.strings("extra_specs", web.document("extra_specs"))
    _change_specs(ident, given, ())
    return web.answer({"extra_specs": given})


@route("/types/<ident>/extra_specs/<key>")
def show_spec(ident: str, key: str) -> Response:
    caller().require_admin()
    specs = orjson.loads(read(lambda db: found(db, ident))["extra_specs"])
    if key not in specs:
        raise Fault(404, f"Volume type {ident} has no extra spec {key}.")
    return web.answer({key: specs[key]})


@route("/types/<ident>/extra_specs/<key>", "PUT")
def change_spec(ident: str, key: str) -> Response:
    caller().require_admin()
    given = check.strings("extra_specs", web.document())
    if list(given) != [key]:
        raise bad("The body and the address must name the same extra spec.")
    _change_specs(ident, given, ())
    return web.answer(given)


@route("/types/<ident>/extra_specs/<key>", "DELETE")
def delete_spec(ident: str, key: str) -> Response:
    caller().require_admin()
    _change_specs(ident, {}, (key,))
    return web.empty(202)


def _change_specs(ident: str, given: dict[str, str], gone: tuple[str, ...]) -> None:
    def work(db: sqlite3.Connection) -> None:
        row = found(db, ident)
        specs = {**orjson.loads(row["extra_specs"]), **given}
        for key in gone:
            if specs.pop(key, None) is None:
                raise Fault(404, f"Volume type {ident} has no extra spec {key}.")
        store.update(db, "volume_types", {"extra_specs": orjson.dumps(specs).decode()}, id=row["id"])

    write(work)


@route("/types/<ident>/os-volume-type-access")
def list_access(ident: str) -> Response:
    caller().require_admin()

    def work(db: sqlite3.Connection) -> list[store.Row]:
        row = found(db, ident)
        if row["is_public"]:
            raise Fault(404, "A volume type for everybody has no list of projects.")
        return store.select(db, "volume_type_projects", store.Where(volume_type_id=row["id"]))

    return web.answer({"volume_type_access": read(work)})


@route("/types/<ident>/action", "POST")
def change_access(ident: str) -> Response:
    caller().require_admin()
    name, given = action(("addProjectAccess", "removeProjectAccess"))
    project_id = check.text(given, "project", least=1)

    def work(db: sqlite3.Connection) -> None:
        row = found(db, ident)
        access = {"volume_type_id": row["id"], "project_id": project_id}
        if row["is_public"]:
            raise conflict("A volume type for everybody cannot be opened to projects.")
        if name == "removeProjectAccess":
            if not store.delete(db, "volume_type_projects", **access):
                raise Fault(404, f"Volume type {ident} is not open to project {project_id}.")
        elif not store.insert(db, "volume_type_projects", access, ignore=True):
            raise conflict(f"Volume type {ident} is open to project {project_id} already.")

    write(work)
    return web.empty(202)


@route("/types/<ident>/encryption")
def show_encryption(ident: str) -> Response:
    caller().require_admin()
    read(lambda db: found(db, ident))
    return web.answer({})


@route("/qos-specs")
def list_qos() -> Response:
    caller().require_admin()
    return web.answer({"qos_specs": []})


@route("/group_types")
def list_group_types() -> Response:
    caller()
    microversion.require(11)
    return web.answer({"group_types": []})
