"""The service catalog: regions, services and endpoints, and the list of them that a token carries."""

import sqlite3
import uuid
from typing import Any

from flask import Response

from protonova.companions import check, store, web
from protonova.companions.caller import caller
from protonova.companions.fault import bad, conflict
from protonova.companions.identity.routes import (
    admin,
    blueprint,
    filters,
    found,
    identifier,
    link,
    listing,
    read,
    reader,
    write,
)

INTERFACES = ("public", "internal", "admin")


def catalog(db: sqlite3.Connection, project_id: str = "") -> list[dict[str, Any]]:
    services: dict[str, dict[str, Any]] = {}
    for service in db.execute("SELECT * FROM services WHERE enabled ORDER BY type, id"):
        services[service["id"]] = {**_keys(service, "id", "type", "name"), "endpoints": []}
    for endpoint in db.execute("SELECT * FROM endpoints WHERE enabled ORDER BY id"):
        service = services.get(endpoint["service_id"])
        if service is None:
            continue
        url = endpoint["url"]
        for template in ("%(project_id)s", "$(project_id)s", "%(tenant_id)s", "$(tenant_id)s"):
            url = url.replace(template, project_id)
        shown = {
            **_keys(endpoint, "id", "interface", "region_id"),
            "region": endpoint["region_id"],
            "url": url,
        }
        service["endpoints"].append(shown)
    return [service for service in services.values() if service["endpoints"]]


def _keys(row: store.Row, *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names}


def _region(row: store.Row) -> dict[str, Any]:
    return {**row, "links": {"self": link(f"regions/{row['id']}")}}


def _service(row: store.Row) -> dict[str, Any]:
    return {**row, "enabled": bool(row["enabled"]), "links": {"self": link(f"services/{row['id']}")}}


def _endpoint(row: store.Row) -> dict[str, Any]:
    return {
        **row,
        "enabled": bool(row["enabled"]),
        "region": row["region_id"],
        "links": {"self": link(f"endpoints/{row['id']}")},
    }


@blueprint.get("/v3/regions")
def list_regions() -> Response:
    caller()
    where = filters("parent_region_id")
    return listing("regions", map(_region, read(lambda db: store.select(db, "regions", where))))


@blueprint.get("/v3/regions/<ident>")
def show_region(ident: str) -> Response:
    caller()
    return web.answer({"region": _region(read(lambda db: found(db, "regions", ident)))})


@blueprint.post("/v3/regions")
@blueprint.put("/v3/regions/<ident>")
def create_region(ident: str = "") -> Response:
    admin()
    given = web.document("region")
    if ident and given.get("id", ident) != ident:
        raise bad("The body and the address must name the same region.")
    row = {
        "id": ident or check.text(given, "id", uuid.uuid4().hex, least=1),
        "description": check.text(given, "description", ""),
        "parent_region_id": identifier(given, "parent_region_id"),
    }

    def work(db: sqlite3.Connection) -> None:
        if row["parent_region_id"]:
            found(db, "regions", row["parent_region_id"])
        if not store.insert(db, "regions", row, ignore=True):
            raise conflict(f"A region {row['id']} exists already.")

    write(work)
    return web.answer({"region": _region(row)}, 201)


@blueprint.patch("/v3/regions/<ident>")
def update_region(ident: str) -> Response:
    admin()
    given = web.document("region")

    def work(db: sqlite3.Connection) -> store.Row:
        row = found(db, "regions", ident)
        row["description"] = check.text(given, "description", row["description"])
        if "parent_region_id" in given:
            row["parent_region_id"] = identifier(given, "parent_region_id")
            if row["parent_region_id"]:
                found(db, "regions", row["parent_region_id"])
        store.update(db, "regions", row, id=ident)
        return row

    return web.answer({"region": _region(write(work))})


@blueprint.delete("/v3/regions/<ident>")
def delete_region(ident: str) -> Response:
    admin()

    def work(db: sqlite3.Connection) -> None:
        found(db, "regions", ident)
        if store.count(db, "endpoints", region_id=ident):
            raise conflict(f"Region {ident} still has endpoints.")
        store.delete(db, "regions", id=ident)

    write(work)
    return web.empty()


@blueprint.get("/v3/services")
def list_services() -> Response:
    reader()
    where = filters("type", "name")
    return listing("services", map(_service, read(lambda db: store.select(db, "services", where))))


@blueprint.get("/v3/services/<ident>")
def show_service(ident: str) -> Response:
    reader()
    return web.answer({"service": _service(read(lambda db: found(db, "services", ident)))})


@blueprint.post("/v3/services")
def create_service() -> Response:
    admin()
    row = _service_row(web.document("service"), {"id": uuid.uuid4().hex})
    write(lambda db: store.insert(db, "services", row))
    return web.answer({"service": _service(row)}, 201)


@blueprint.patch("/v3/services/<ident>")
def update_service(ident: str) -> Response:
    admin()
    given = web.document("service")

    def work(db: sqlite3.Connection) -> store.Row:
        row = _service_row(given, found(db, "services", ident))
        store.update(db, "services", row, id=ident)
        return row

    return web.answer({"service": _service(write(work))})


def _service_row(given: dict[str, Any], row: store.Row) -> store.Row:
    return {
        "id": row["id"],
        "type": check.text(given, "type", row.get("type", check.ABSENT), least=1),
        "name": check.text(given, "name", row.get("name", "")),
        "description": check.text(given, "description", row.get("description", ""), most=4096),
        "enabled": int(check.boolean(given, "enabled", row.get("enabled", True))),
    }


@blueprint.delete("/v3/services/<ident>")
def delete_service(ident: str) -> Response:
    admin()

    def work(db: sqlite3.Connection) -> None:
        found(db, "services", ident)
        store.delete(db, "services", id=ident)

    write(work)
    return web.empty()


@blueprint.get("/v3/endpoints")
def list_endpoints() -> Response:
    reader()
    where = filters("interface", "service_id", "region_id")
    return listing("endpoints", map(_endpoint, read(lambda db: store.select(db, "endpoints", where))))


@blueprint.get("/v3/endpoints/<ident>")
def show_endpoint(ident: str) -> Response:
    reader()
    return web.answer({"endpoint": _endpoint(read(lambda db: found(db, "endpoints", ident)))})


@blueprint.post("/v3/endpoints")
def create_endpoint() -> Response:
    admin()
    given = web.document("endpoint")

    def work(db: sqlite3.Connection) -> store.Row:
        row = _endpoint_row(db, given, {"id": uuid.uuid4().hex})
        store.insert(db, "endpoints", row)
        return row

    return web.answer({"endpoint": _endpoint(write(work))}, 201)


@blueprint.patch("/v3/endpoints/<ident>")
def update_endpoint(ident: str) -> Response:
    admin()
    given = web.document("endpoint")

    def work(db: sqlite3.Connection) -> store.Row:
        row = _endpoint_row(db, given, found(db, "endpoints", ident))
        store.update(db, "endpoints", row, id=ident)
        return row

    return web.answer({"endpoint": _endpoint(write(work))})


def _region_of(given: dict[str, Any]) -> dict[str, Any]:
    """The region a request names, in the newer way or the older one."""
    named = [given[name] for name in ("region_id", "region") if name in given]
    return {"region_id": named[0]} if named else {}


def _endpoint_row(db: sqlite3.Connection, given: dict[str, Any], row: store.Row) -> store.Row:
    changed = {
        "id": row["id"],
        "service_id": check.text(given, "service_id", row.get("service_id", check.ABSENT)),
        "region_id": identifier({**row, **_region_of(given)}, "region_id"),
        "interface": check.choice(given, "interface", INTERFACES, row.get("interface", check.ABSENT)),
        "url": check.text(given, "url", row.get("url", check.ABSENT), most=2048, least=1),
        "enabled": int(check.boolean(given, "enabled", row.get("enabled", True))),
    }
    if store.find(db, "services", id=changed["service_id"]) is None:
        raise bad(f"There is no service {changed['service_id']}.")
    if given.get("region") and "region_id" not in given:
        # The older way to name a region also makes it.
        named = {"id": changed["region_id"], "description": "", "parent_region_id": None}
        store.insert(db, "regions", named, ignore=True)
    if changed["region_id"] and store.find(db, "regions", id=changed["region_id"]) is None:
        raise bad(f"There is no region {changed['region_id']}.")
    return changed


@blueprint.delete("/v3/endpoints/<ident>")
def delete_endpoint(ident: str) -> Response:
    admin()

    def work(db: sqlite3.Connection) -> None:
        found(db, "endpoints", ident)
        store.delete(db, "endpoints", id=ident)

    write(work)
    return web.empty()
