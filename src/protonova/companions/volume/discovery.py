"""Versions of Volume, and what it says of its services, zones, pools and extensions."""

import shutil
import sqlite3
from typing import Any

from flask import Response, request

from protonova.companions import clock, web
from protonova.companions.caller import caller
from protonova.companions.cloud import cloud
from protonova.companions.fault import missing
from protonova.companions.volume import microversion
from protonova.companions.volume.files import GIB
from protonova.companions.volume.quotas import usage
from protonova.companions.volume.routes import blueprint, link, read, route

_EXTENSIONS = {
    "os-admin-actions": "AdminActions",
    "os-availability-zone": "AvailabilityZones",
    "os-extended-snapshot-attributes": "ExtendedSnapshotAttributes",
    "os-hosts": "Hosts",
    "os-quota-class-sets": "QuotaClasses",
    "os-quota-sets": "Quotas",
    "os-services": "Services",
    "os-types-extra-specs": "TypesExtraSpecs",
    "os-types-manage": "TypesManage",
    "os-used-limits": "UsedLimits",
    "os-vol-host-attr": "VolumeHostAttribute",
    "os-vol-image-meta": "VolumeImageMetadata",
    "os-vol-mig-status-attr": "VolumeMigStatusAttribute",
    "os-vol-tenant-attr": "VolumeTenantAttribute",
    "os-volume-actions": "VolumeActions",
    "os-volume-type-access": "VolumeTypeAccess",
}


def _versions() -> dict[str, Any]:
    return {
        "versions": [
            {
                "id": "v3.0",
                "status": "CURRENT",
                "version": microversion.text(microversion.MOST),
                "min_version": microversion.text(microversion.LEAST),
                "updated": "2022-03-30T00:00:00Z",
                "links": [{"rel": "self", "href": link("")}],
                "media-types": [
                    {"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"}
                ],
            }
        ]
    }


@blueprint.get("/", strict_slashes=False)
def versions() -> Response:
    return web.answer(_versions(), 300)


@blueprint.get("/v3/", strict_slashes=False)
def version() -> Response:
    return web.answer(_versions())


def _extension(alias: str) -> dict[str, Any]:
    return {
        "alias": alias,
        "name": _EXTENSIONS[alias],
        "description": "",
        "updated": "2026-01-01T00:00:00+00:00",
        "links": [],
    }


@route("/extensions")
def list_extensions() -> Response:
    caller()
    return web.answer({"extensions": [_extension(alias) for alias in _EXTENSIONS]})


@route("/os-availability-zone")
def list_zones() -> Response:
    caller()
    zone = {"zoneName": cloud().settings.availability_zone, "zoneState": {"available": True}}
    return web.answer({"availabilityZoneInfo": [zone]})


@route("/os-services")
def list_services() -> Response:
    caller().require_admin()
    services = []
    for binary in ("cinder-scheduler", "cinder-volume"):
        host = cloud().settings.volume_host
        services.append(
            {
                "binary": binary,
                "host": host if binary == "cinder-volume" else host.partition("@")[0],
                "zone": cloud().settings.availability_zone,
                "status": "enabled",
                "state": "up",
                "disabled_reason": None,
                "updated_at": clock.naive(clock.now()),
                "replication_status": "disabled",
                "active_backend_id": None,
                "frozen": False,
            }
        )
    wanted = request.args.get("binary")
    return web.answer({"services": [entry for entry in services if wanted in (None, entry["binary"])]})


def _room() -> dict[str, Any]:
    """What the file system below the volumes has, in GiB."""
    usage = shutil.disk_usage(cloud().settings.state_dir)
    return {
        "volume_backend_name": "files",
        "vendor_name": "Open Source",
        "driver_version": "1.0",
        "storage_protocol": "file",
        "total_capacity_gb": round(usage.total / GIB, 2),
        "free_capacity_gb": round(usage.free / GIB, 2),
        "reserved_percentage": 0,
        "multiattach": True,
        "QoS_support": False,
    }


@route("/scheduler-stats/get_pools")
def list_pools() -> Response:
    caller().require_admin()
    pool: dict[str, Any] = {"name": f"{cloud().settings.volume_host}#files"}
    if "detail" in request.args and web.yes(request.args["detail"]):
        pool["capabilities"] = _room()
    return web.answer({"pools": [pool]})


@route("/os-hosts")
def list_hosts() -> Response:
    caller().require_admin()
    host = cloud().settings.volume_host
    rows = [
        {
            "service": service,
            "host_name": name,
            "zone": cloud().settings.availability_zone,
            "service-state": "enabled",
            "service-status": "available",
            "last-update": clock.naive(clock.now()),
        }
        for service, name in (("cinder-scheduler", host.partition("@")[0]), ("cinder-volume", host))
    ]
    return web.answer({"hosts": rows})


@route("/os-hosts/<host>")
def show_host(host: str) -> Response:
    caller().require_admin()
    if host != cloud().settings.volume_host:
        raise missing("Host", host)

    def work(db: sqlite3.Connection) -> list[dict[str, Any]]:
        owners = db.execute("SELECT DISTINCT project_id FROM volumes ORDER BY project_id").fetchall()
        used = {row["project_id"]: usage(db, row["project_id"]) for row in owners}
        total = {
            name: sum(part[name] for part in used.values()) for name in ("volumes", "snapshots", "gigabytes")
        }
        return [_resource(host, name, part) for name, part in {"(total)": total, **used}.items()]

    return web.answer({"host": read(work)})


def _resource(host: str, project: str, used: dict[str, int]) -> dict[str, Any]:
    resource = {
        "host": host,
        "project": project,
        "volume_count": str(used["volumes"]),
        "snapshot_count": str(used["snapshots"]),
        "total_volume_gb": str(used["gigabytes"]),
        "total_snapshot_gb": "0",
    }
    return {"resource": resource}
