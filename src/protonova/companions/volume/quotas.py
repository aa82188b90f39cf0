"""Quotas and limits of projects, counted from the rows in the transaction that adds one."""

import sqlite3
from typing import Any

from flask import Response, request

from protonova.companions import check, store, web
from protonova.companions.caller import caller
from protonova.companions.cloud import cloud
from protonova.companions.fault import Fault, bad, forbidden, missing
from protonova.companions.volume.routes import read, route, write

_DEFAULT_CLASS = "class default"


def limits(db: sqlite3.Connection, project_id: str) -> dict[str, int]:
    return {**defaults(db), **_chosen(db, project_id)}


def defaults(db: sqlite3.Connection) -> dict[str, int]:
    """The limits of projects that have none of their own: by the settings, or as changed for the default class."""
    return {**cloud().settings.volume_quota, **_chosen(db, _DEFAULT_CLASS)}


def _chosen(db: sqlite3.Connection, owner: str) -> dict[str, int]:
    return {row["resource"]: row["most"] for row in store.select(db, "quotas", store.Where(project_id=owner))}


def usage(db: sqlite3.Connection, project_id: str) -> dict[str, int]:
    sums = "SELECT count(*) AS n, ifnull(sum(size), 0) AS gigabytes FROM {} WHERE project_id = ?"
    volumes = db.execute(sums.format("volumes"), (project_id,)).fetchone()
    snapshots = db.execute(sums.format("snapshots"), (project_id,)).fetchone()
    return {
        "volumes": volumes["n"],
        "snapshots": snapshots["n"],
        "gigabytes": volumes["gigabytes"] + snapshots["gigabytes"],
    }


def charge(db: sqlite3.Connection, project_id: str, resource: str | None, gigabytes: int) -> None:
    """Refuse one more of the resource, or so many more gigabytes, when that would go past a quota."""
    most, used = limits(db, project_id), usage(db, project_id)
    more = {"gigabytes": gigabytes, **({resource: 1} if resource else {})}
    for name, amount in more.items():
        if 0 <= most[name] < used[name] + amount:
            raise Fault(
                413,
                f"The quota of {name} is exceeded: {used[name]} of {most[name]} are used, "
                f"{amount} more were asked for.",
                headers={"Retry-After": "0"},
            )


def charge_size(db: sqlite3.Connection, project_id: str, size: int) -> None:
    most = limits(db, project_id)["per_volume_gigabytes"]
    if 0 <= most < size:
        raise Fault(413, f"A volume may have {most} GiB, not {size}.", headers={"Retry-After": "0"})


@route("/limits")
def show_limits() -> Response:
    project_id = caller().project_id
    most, used = read(lambda db: (limits(db, project_id), usage(db, project_id)))
    absolute = {
        "maxTotalVolumes": most["volumes"],
        "maxTotalSnapshots": most["snapshots"],
        "maxTotalVolumeGigabytes": most["gigabytes"],
        "maxTotalBackups": most["backups"],
        "maxTotalBackupGigabytes": most["backup_gigabytes"],
        "totalVolumesUsed": used["volumes"],
        "totalSnapshotsUsed": used["snapshots"],
        "totalGigabytesUsed": used["gigabytes"],
        "totalBackupsUsed": 0,
        "totalBackupGigabytesUsed": 0,
    }
    return web.answer({"limits": {"rate": [], "absolute": absolute}})


@route("/os-quota-sets/<target>")
def show_quota_set(target: str) -> Response:
    if not caller().is_privileged and caller().project_id != target:
        raise forbidden("The quota of another project is not yours to see.")

    def work(db: sqlite3.Connection) -> dict[str, Any]:
        most = limits(db, target)
        if not web.yes(request.args.get("usage", "false")):
            return dict(most)
        used = usage(db, target)
        return {
            name: {"limit": value, "in_use": used.get(name, 0), "reserved": 0} for name, value in most.items()
        }

    return web.answer({"quota_set": {"id": target, **read(work)}})


@route("/os-quota-sets/<target>/defaults")
def show_quota_defaults(target: str) -> Response:
    caller()
    return web.answer({"quota_set": {"id": target, **read(defaults)}})


@route("/os-quota-class-sets/<name>")
def show_quota_class(name: str) -> Response:
    caller()
    return web.answer({"quota_class_set": {"id": name, **read(defaults)}})


@route("/os-quota-class-sets/<name>", "PUT")
def update_quota_class(name: str) -> Response:
    caller().require_admin()
    if name != "default":
        raise missing("Quota class", name)
    given = web.document("quota_class_set")
    given.pop("class_name", None)
    _write(_DEFAULT_CLASS, given)
    return web.answer({"quota_class_set": read(defaults)})


@route("/os-quota-sets/<target>", "PUT")
def update_quota_set(target: str) -> Response:
    caller().require_admin()
    given = web.document("quota_set")
    for name in ("tenant_id", "id", "force"):
        given.pop(name, None)
    _write(target, given)
    return web.answer({"quota_set": read(lambda db: limits(db, target))})


def _write(owner: str, given: dict[str, Any]) -> None:
    for name in given:
        if name not in cloud().settings.volume_quota:
            raise bad(f"There is no quota for '{name}'.")
    chosen = {name: check.whole(name, value, -1, 2**31 - 1) for name, value in given.items()}

    def work(db: sqlite3.Connection) -> None:
        for name, most in chosen.items():
            store.delete(db, "quotas", project_id=owner, resource=name)
            store.insert(db, "quotas", {"project_id": owner, "resource": name, "most": most})

    write(work)


@route("/os-quota-sets/<target>", "DELETE")
def reset_quota_set(target: str) -> Response:
    caller().require_admin()
    write(lambda db: store.delete(db, "quotas", project_id=target))
    return web.empty(200)
