"""Migrations: all that there were, and those of one server that are in progress.

History: 2.22 force_complete; 2.23 those of a server, types, links to live ones in progress; 2.24 abort; 2.59 UUIDs,
pages, changes-since; 2.65 abort before they run; 2.66 changes-before; 2.80 users and projects.
"""

from __future__ import annotations

from typing import Any

from protonova.api.v1 import migration_pb2 as api
from protonova.common.v1 import migration_pb2 as pb
from protonova.gateway import paging, times
from protonova.gateway.compute.servers import find
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import (
    ABSENT,
    INTEGER,
    INTEGER_OR_NULL,
    KEYSTONE_ID,
    LINKS,
    MICROTIME,
    MICROTIME_OR_NULL,
    NON_NEGATIVE,
    NULL,
    STRING,
    STRING_OR_NULL,
    TIME,
    UUID,
    Arr,
    Field,
    Getter,
    Obj,
    View,
    natural,
    one_of,
)
from protonova.gateway.validation import Query
from protonova.gateway.versions import Window

RULES = "os_compute_api:os-migrations:index"
OF_SERVER = "os_compute_api:servers:migrations"
PATH = "/servers/{server_id}/migrations"
PAGED = Window.parse("2.59-")
BEFORE_THEY_RUN = Window.parse("2.65-")

migrations = Resource("os-migrations")
of_server = Resource("servers.migrations")

_IN_PROGRESS = frozenset(
    (
        pb.MIGRATION_STATUS_QUEUED,
        pb.MIGRATION_STATUS_PREPARING,
        pb.MIGRATION_STATUS_RUNNING,
        pb.MIGRATION_STATUS_POST_MIGRATING,
    )
)
_TYPES = ("migration", "resize", "live-migration", "evacuation")


def _name(enum_name: str, prefix: str) -> str:
    return enum_name.removeprefix(prefix).lower().replace("_", "-")


STATUSES = {number: _name(name, "MIGRATION_STATUS_") for name, number in pb.MigrationStatus.items()}
TYPES = {number: _name(name, "MIGRATION_TYPE_") for name, number in pb.MigrationType.items()}


def _in_progress(migration: pb.Migration) -> bool:
    return migration.type == pb.MIGRATION_TYPE_LIVE_MIGRATION and migration.status in _IN_PROGRESS


def _links(migration: pb.Migration, request: Request) -> Any:
    if not _in_progress(migration):
        return ABSENT
    return request.links.pair(f"servers/{migration.server_id}/migrations", migration.number)


def _host_field(name: str, rule: str) -> Field:
    """A host is null for those who may not see it."""

    def read(migration: pb.Migration, request: Request) -> str | None:
        return (getattr(migration, name) or None) if request.allowed(rule) else None

    shown = {"source_host": "source_compute", "dest_host": "dest_compute", "dest_ip": "dest_host"}
    return Field(shown.get(name, name), STRING_OR_NULL, read, required=True)


def _hosts(rule: str) -> list[Field]:
    names = ("source_host", "source_node", "dest_host", "dest_node", "dest_ip")
    return [_host_field(name, rule) for name in names]


def _flavor(name: str) -> Getter:
    return lambda migration, _: getattr(migration, name).number or None


_OWNERS = (
    Field("uuid", UUID, lambda m, _: m.id, since="2.59", required=True),
    Field("project_id", KEYSTONE_ID, lambda m, _: m.project_id, since="2.80", required=True),
    Field("user_id", KEYSTONE_ID, lambda m, _: m.user_id, since="2.80", required=True),
)
MIGRATION = View(
    Field("id", INTEGER, lambda m, _: m.number, required=True),
    Field("instance_uuid", UUID, lambda m, _: m.server_id, required=True),
    Field("status", STRING, lambda m, _: STATUSES[m.status], required=True),
    Field("created_at", MICROTIME, lambda m, _: times.field_micro(m, "created_at"), required=True),
    Field("updated_at", MICROTIME_OR_NULL, lambda m, _: times.field_micro(m, "updated_at"), required=True),
    Field("old_instance_type_id", INTEGER_OR_NULL, _flavor("old_flavor"), required=True),
    Field("new_instance_type_id", INTEGER_OR_NULL, _flavor("new_flavor"), required=True),
    *_hosts(f"{RULES}:host"),
    Field("migration_type", one_of(*_TYPES), lambda m, _: TYPES[m.type], since="2.23", required=True),
    Field("links", LINKS, _links, since="2.23"),
    *_OWNERS,
)


def _progress(name: str) -> Field:
    """How far it is: null until that is known."""

    def read(migration: pb.Migration, _: Request) -> int | None:
        progress = migration.progress
        known = progress.disk_total_bytes if name.startswith("disk") else progress.memory_total_bytes
        return getattr(progress, name) if known else None

    return Field(name, INTEGER_OR_NULL, read, required=True)


LIVE = View(
    Field("id", INTEGER, lambda m, _: m.number, required=True),
    Field("server_uuid", UUID, lambda m, _: m.server_id, required=True),
    Field("status", STRING, lambda m, _: STATUSES[m.status], required=True),
    Field("created_at", MICROTIME, lambda m, _: times.field_micro(m, "created_at"), required=True),
    Field("updated_at", MICROTIME, lambda m, _: times.field_micro(m, "updated_at"), required=True),
    *_hosts(f"{OF_SERVER}:index:host"),
    *(
        _progress(f"{what}_{how}_bytes")
        for what in ("memory", "disk")
        for how in ("total", "processed", "remaining")
    ),
    *_OWNERS,
)

LIST_QUERY = Query(
    Field("hidden", STRING),
    Field("host", STRING),
    Field("instance_uuid", STRING),
    Field("source_compute", STRING),
    Field("status", STRING),
    Field("migration_type", STRING),
    Field("limit", NON_NEGATIVE, since="2.59", once=True),
    Field("marker", STRING, since="2.59", once=True),
    Field("changes-since", TIME, since="2.59", once=True),
    Field("changes-before", TIME, since="2.66", once=True),
    Field("user_id", STRING, since="2.80", once=True),
    Field("project_id", STRING, since="2.80", once=True),
    strict="2.59",
)


@migrations.get(
    "/os-migrations",
    "index",
    policy=RULES,
    query=LIST_QUERY,
    answer=Obj(
        Field("migrations", Arr(MIGRATION), required=True),
        Field("migrations_links", paging.NEXT_LINKS, since="2.59"),
    ),
)
def index(request: Request) -> dict[str, Any]:
    """List migrations."""
    wanted = api.ListMigrationsRequest(page_token=request.last("marker") or "")
    asked = wanted.filter
    asked.project_id = request.last("project_id") or ""
    if asked.project_id != request.project_id:
        request.enforce(f"{RULES}:all_projects")
    asked.user_id = request.last("user_id") or ""
    asked.server_id = request.last("instance_uuid") or ""
    asked.host = request.last("host") or ""
    asked.source_host = request.last("source_compute") or ""
    asked.status = request.last("status") or ""
    asked.type = request.last("migration_type") or ""
    _between(request, asked)
    paged = request.version in PAGED
    limit = paging.limit_of(request)
    wanted.page_size = limit if paged else 0
    found = request.services.migrations.ListMigrations(wanted).migrations if limit or not paged else []
    shown = request.show_all(MIGRATION, found)
    if not paged:
        return {"migrations": shown}
    return paging.page(request, "/os-migrations", "migrations", shown, limit, paging.last_id(found))


def _between(request: Request, asked: pb.MigrationFilter) -> None:
    if (since := request.last("changes-since")) is not None:
        asked.changed_since.CopyFrom(times.read(since, "changes-since"))
    if (before := request.last("changes-before")) is not None:
        asked.changed_before.CopyFrom(times.read(before, "changes-before"))
        if since is not None and asked.changed_since.ToNanoseconds() > asked.changed_before.ToNanoseconds():
            raise Fault(400, "query.changes-since is later than query.changes-before.")


# ---- of one server


@of_server.get(
    PATH,
    "index",
    since="2.23",
    policy=f"{OF_SERVER}:index",
    answer=Obj(Field("migrations", Arr(LIVE), required=True)),
)
def index_of_server(request: Request) -> dict[str, Any]:
    """List a server's live migrations in progress."""
    server = find(request)
    wanted = api.ListMigrationsRequest()
    wanted.filter.server_id = server.id
    wanted.filter.live_in_progress = True
    found = request.services.migrations.ListMigrations(wanted).migrations
    return {"migrations": request.show_all(LIVE, found)}


@of_server.get(
    PATH + "/{migration_id}",
    since="2.23",
    policy=f"{OF_SERVER}:show",
    answer=Obj(Field("migration", LIVE, required=True)),
)
def show(request: Request) -> dict[str, Any]:
    """Show a server's live migration in progress."""
    wanted = api.GetMigrationRequest(server_id=request.args["server_id"], number=_number(request))
    found = request.services.migrations.GetMigration(wanted).migration
    if not _in_progress(found):
        raise Fault(404, f"Migration {found.number} of server {found.server_id} is not in progress.")
    return {"migration": request.show(LIVE, found)}


@of_server.delete(PATH + "/{migration_id}", since="2.24", policy=f"{OF_SERVER}:delete", status=202)
def abort(request: Request) -> None:
    """Abort a server's live migration."""
    request.services.migrations.AbortMigration(
        api.AbortMigrationRequest(
            server_id=request.args["server_id"],
            number=_number(request),
            before_it_runs=request.version in BEFORE_THEY_RUN,
        )
    )


@of_server.action(
    PATH + "/{migration_id}/action",
    "force_complete",
    since="2.22",
    policy=f"{OF_SERVER}:force_complete",
    body=Obj(Field("force_complete", NULL, required=True)),
    status=202,
)
def force_complete(request: Request) -> None:
    """Make a server's live migration finish."""
    request.services.migrations.ForceCompleteMigration(
        api.ForceCompleteMigrationRequest(server_id=request.args["server_id"], number=_number(request))
    )


def _number(request: Request) -> int:
    """What is no number names no migration."""
    number = natural(request.args["migration_id"])
    if number is None:
        raise Fault(
            404,
            f"Migration {request.args['migration_id']} of server {request.args['server_id']} could not be found.",
        )
    return number
