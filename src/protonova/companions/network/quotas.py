"""Quotas: how much of each resource a project may have, counted from the rows in the same transaction."""

import sqlite3
from typing import Any

from flask import Response

from protonova.companions import check, store, web
from protonova.companions.caller import caller
from protonova.companions.cloud import cloud
from protonova.companions.fault import Fault, bad, forbidden
from protonova.companions.network.routes import blueprint, read, write

_TABLES = {
    "network": "networks",
    "subnet": "subnets",
    "port": "ports",
    "router": "routers",
    "floatingip": "floatingips",
    "security_group": "security_groups",
    "security_group_rule": "security_group_rules",
}


def limits(db: sqlite3.Connection, project_id: str) -> dict[str, int]:
    chosen = store.select(db, "quotas", store.Where(project_id=project_id))
    return {**cloud().settings.network_quota, **{row["resource"]: row["most"] for row in chosen}}


def used(db: sqlite3.Connection, resource: str, project_id: str) -> int:
    table = _TABLES.get(resource)
    return store.count(db, table, project_id=project_id) if table else 0


def charge(db: sqlite3.Connection, resource: str, project_id: str, more: int = 1) -> None:
    """Refuse what would go past the quota; resources without a project are the cloud's own."""
    most = limits(db, project_id).get(resource, -1)
    if project_id and most >= 0 and used(db, resource, project_id) + more > most:
        raise Fault(409, f"Quota exceeded for resources: ['{resource}'].", "OverQuota")


def _may_see(project_id: str) -> None:
    if not caller().is_privileged and caller().project_id != project_id:
        raise forbidden("The quota of another project is not yours to see.")


@blueprint.get("/v2.0/quotas")
def list_quotas() -> Response:
    caller().require_admin()

    def work(db: sqlite3.Connection) -> list[dict[str, Any]]:
        projects = db.execute("SELECT DISTINCT project_id FROM quotas ORDER BY project_id").fetchall()
        return [
            {**limits(db, row["project_id"]), "project_id": row["project_id"], "tenant_id": row["project_id"]}
            for row in projects
        ]

    return web.answer({"quotas": read(work)})


@blueprint.get("/v2.0/quotas/<project_id>")
def show_quota(project_id: str) -> Response:
    _may_see(project_id)
    return web.answer({"quota": read(lambda db: limits(db, project_id))})


@blueprint.get("/v2.0/quotas/<project_id>/default")
def show_default(project_id: str) -> Response:
    _may_see(project_id)
    return web.answer({"quota": cloud().settings.network_quota})


@blueprint.get("/v2.0/quotas/<project_id>/details")
@blueprint.get("/v2.0/quotas/<project_id>/details.json")
def show_details(project_id: str) -> Response:
    _may_see(project_id)

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        return {
            name: {"limit": most, "used": used(db, name, project_id), "reserved": 0}
            for name, most in limits(db, project_id).items()
        }

    return web.answer({"quota": read(work)})


@blueprint.put("/v2.0/quotas/<project_id>")
def update_quota(project_id: str) -> Response:
    caller().require_admin()
    given = web.document("quota")
    for name in ("tenant_id", "project_id", "check_limit", "force"):
        given.pop(name, None)
    known = cloud().settings.network_quota
    for name in given:
        if name not in known:
            raise bad(f"There is no quota for '{name}'.")
    chosen = {name: check.whole(name, value, -1, 2**31 - 1) for name, value in given.items()}

    def work(db: sqlite3.Connection) -> dict[str, int]:
        for name, most in chosen.items():
            store.delete(db, "quotas", project_id=project_id, resource=name)
            store.insert(db, "quotas", {"project_id": project_id, "resource": name, "most": most})
        return limits(db, project_id)

    return web.answer({"quota": write(work)})


@blueprint.delete("/v2.0/quotas/<project_id>")
def reset_quota(project_id: str) -> Response:
    caller().require_admin()
    write(lambda db: store.delete(db, "quotas", project_id=project_id))
    return web.empty()
