"""Moves of servers between hosts: resize and cold migration with their two ends, live migration, evacuation.

History: 2.14 evacuate without onSharedStorage and without adminPass in the answer; 2.25 live migration decides by
itself about disks (auto), without disk_over_commit; 2.29 evacuate and 2.30 live migration ask the scheduler about a
host unless forced, until 2.68 takes force away; 2.34 live migration answers before it has checked; 2.56 migrate may
name a host; 2.95 evacuated servers are stopped.
"""

from __future__ import annotations

from typing import Any

from protonova.api.v1 import migration_pb2 as api
from protonova.common.v1 import migration_pb2 as pb
from protonova.gateway.compute.server_actions import PATH
from protonova.gateway.compute.server_create import FLAVOR_REF
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import (
    ANY,
    BOOLEAN,
    DISK_CONFIG,
    FQDN,
    NULL,
    STRING,
    STRING_OR_NULL,
    Either,
    Field,
    Obj,
    one_of,
    truth,
)
from protonova.gateway.versions import Window

CROSS_CELL = "compute:servers:resize:cross_cell"
MIGRATE = "os_compute_api:os-migrate-server:migrate"
MIGRATE_LIVE = "os_compute_api:os-migrate-server:migrate_live"
CHECKS_FIRST = Window.of(until="2.33")
ASKS_ABOUT_LIVE_HOSTS = Window.parse("2.30-")
ASKS_ABOUT_EVACUATION_HOSTS = Window.parse("2.29-")
STOPS_EVACUATED = Window.parse("2.95-")

moves = Resource("servers")

RESIZE = Obj(
    Field(
        "resize",
        Obj(Field("flavorRef", FLAVOR_REF, required=True), Field("OS-DCF:diskConfig", DISK_CONFIG)),
        required=True,
    )
)
_HOST_OR_NULL = FQDN.or_null()
MIGRATE_BODY = Obj(
    Field("migrate", ANY, until="2.55", required=True),
    Field("migrate", Either(NULL, Obj(Field("host", _HOST_OR_NULL))), since="2.56", required=True),
)
LIVE = Obj(
    Field(
        "os-migrateLive",
        Obj(
            Field("host", _HOST_OR_NULL, required=True),
            Field("block_migration", BOOLEAN, until="2.24", required=True),
            Field("block_migration", Either(BOOLEAN, one_of("auto")), since="2.25", required=True),
            Field("disk_over_commit", BOOLEAN, until="2.24", required=True),
            Field("force", BOOLEAN, versions="2.30-2.67"),
        ),
        required=True,
    )
)
EVACUATE = Obj(
    Field(
        "evacuate",
        Obj(
            Field("host", FQDN),
            Field("onSharedStorage", BOOLEAN, until="2.13", required=True),
            Field("adminPass", STRING),
            Field("force", BOOLEAN, versions="2.29-2.67"),
        ),
        required=True,
    )
)


@moves.action(PATH, "resize", policy="os_compute_api:servers:resize", body=RESIZE, status=202)
def resize(request: Request) -> None:
    """Give a server another flavor, on another host."""
    body = request.body["resize"]
    wanted = api.ResizeServerRequest(
        server_id=request.args["server_id"],
        flavor_id=str(body["flavorRef"]).rstrip("/").rpartition("/")[2],
    )
    if "OS-DCF:diskConfig" in body:
        wanted.auto_disk_config = body["OS-DCF:diskConfig"] == "AUTO"
    wanted.may_leave_cell = request.allowed(CROSS_CELL)
    request.services.migrations.ResizeServer(wanted)


@moves.action(
    PATH,
    "confirmResize",
    policy="os_compute_api:servers:confirm_resize",
    body=Obj(Field("confirmResize", ANY, required=True)),
    status=204,
)
def confirm(request: Request) -> None:
    """Confirm a resize or a cold migration."""
    request.services.migrations.ConfirmResize(api.ConfirmResizeRequest(server_id=request.args["server_id"]))


@moves.action(
    PATH,
    "revertResize",
    policy="os_compute_api:servers:revert_resize",
    body=Obj(Field("revertResize", ANY, required=True)),
    status=202,
)
def revert(request: Request) -> None:
    """Go back from a resize or a cold migration."""
    request.services.migrations.RevertResize(api.RevertResizeRequest(server_id=request.args["server_id"]))


@moves.action(PATH, "migrate", policy=MIGRATE, body=MIGRATE_BODY, status=202)
def migrate(request: Request) -> None:
    """Move a server to another host, switched off meanwhile."""
    body = request.body["migrate"]
    # Before it could name a host the action took anything.
    named = request.version in Window.parse("2.56-") and isinstance(body, dict)
    host = (body.get("host") or "") if named else ""
    if host:
        request.enforce(f"{MIGRATE}:host")
    wanted = api.MigrateServerRequest(
        server_id=request.args["server_id"], host=host, may_leave_cell=request.allowed(CROSS_CELL)
    )
    request.services.migrations.MigrateServer(wanted)


@moves.action(PATH, "os-migrateLive", policy=MIGRATE_LIVE, body=LIVE, status=202)
def migrate_live(request: Request) -> None:
    """Move a running server to another host."""
    body = request.body["os-migrateLive"]
    host = body["host"] or ""
    if host:
        request.enforce(f"{MIGRATE_LIVE}:host")
    request.services.migrations.LiveMigrateServer(
        api.LiveMigrateServerRequest(
            server_id=request.args["server_id"],
            host=host,
            block_migration=_disks(body["block_migration"]),
            force=_forced(body, host, request.version not in ASKS_ABOUT_LIVE_HOSTS, "os-migrateLive"),
            disk_over_commit=truth(body.get("disk_over_commit", False)),
            check_first=request.version in CHECKS_FIRST,
        )
    )


@moves.action(
    PATH,
    "evacuate",
    until="2.13",
    policy="os_compute_api:os-evacuate",
    body=EVACUATE,
    answer=Obj(Field("adminPass", STRING_OR_NULL)),
)
def evacuate_with_password(request: Request) -> dict[str, Any]:
    """Build a server of a dead host anew on another one."""
    body = request.body["evacuate"]
    shared = truth(body["onSharedStorage"])
    if shared and "adminPass" in body:
        raise Fault(400, "evacuate.adminPass: the disks are kept, with the password that is on them.")
    wanted = _evacuation(request)
    wanted.on_shared_storage = shared
    password = request.services.migrations.EvacuateServer(wanted).admin_password
    # Without one the disks are kept, or the operator shows none.
    return {"adminPass": password or None} if password or shared else {}


@moves.action(PATH, "evacuate", since="2.14", policy="os_compute_api:os-evacuate", body=EVACUATE)
def evacuate(request: Request) -> None:
    """Build a server of a dead host anew on another one."""
    request.services.migrations.EvacuateServer(_evacuation(request))


def _evacuation(request: Request) -> api.EvacuateServerRequest:
    body = request.body["evacuate"]
    host = body.get("host", "")
    return api.EvacuateServerRequest(
        server_id=request.args["server_id"],
        host=host,
        admin_password=body.get("adminPass", ""),
        force=_forced(body, host, request.version not in ASKS_ABOUT_EVACUATION_HOSTS, "evacuate"),
        stop=request.version in STOPS_EVACUATED,
    )


def _forced(body: dict[str, Any], host: str, always: bool, action: str) -> bool:
    """Whether the scheduler is not asked about the host; before it could be, it never was."""
    forced = truth(body.get("force", False))
    if forced and not host:
        raise Fault(400, f"{action}.force: can only be set where a host is named.")
    return bool(host) and (always or forced)


def _disks(asked: Any) -> pb.BlockMigration.ValueType:
    if asked == "auto":
        return pb.BLOCK_MIGRATION_UNSPECIFIED
    return pb.BLOCK_MIGRATION_COPY if truth(asked) else pb.BLOCK_MIGRATION_SHARED
