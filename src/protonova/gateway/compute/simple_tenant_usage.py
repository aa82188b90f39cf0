"""What projects have used: hours of servers within a period, deleted ones among them.

History: 2.40 pages, by server; 2.75 strict queries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from protonova.api.v1 import usage_pb2 as api
from protonova.common.v1 import usage_pb2 as pb
from protonova.gateway import paging, times
from protonova.gateway.compute.server_status import VM_STATES
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import (
    INTEGER,
    KEYSTONE_ID,
    MICROTIME,
    MICROTIME_OR_NULL,
    NON_NEGATIVE,
    NUMBER,
    STRING,
    UUID,
    Arr,
    Either,
    Field,
    Obj,
    View,
)
from protonova.gateway.validation import Query
from protonova.gateway.versions import Window

RULES = "os_compute_api:os-simple-tenant-usage"
PATH = "/os-simple-tenant-usage"
PAGED = Window.parse("2.40-")
USUAL = timedelta(weeks=4)
_HOUR = 3600.0

usage = Resource("os-simple-tenant-usage")


@dataclass(frozen=True)
class Period:
    begin: datetime
    end: datetime
    now: datetime

    def hours(self, server: pb.ServerUsage) -> float:
        """How long the server was there within the period."""
        begin = max(_at(server.launched_at), self.begin)
        end = min(_at(server.ended_at) if server.HasField("ended_at") else self.end, self.end)
        return max((end - begin).total_seconds(), 0.0) / _HOUR

    def uptime(self, server: pb.ServerUsage) -> int:
        """Seconds since the server was launched, whatever the period."""
        end = _at(server.ended_at) if server.HasField("ended_at") else self.now
        return max(int((min(end, self.now) - _at(server.launched_at)).total_seconds()), 0)


@dataclass
class Project:
    """Sums of one project over a period."""

    id: str
    period: Period
    servers: list[pb.ServerUsage] = field(default_factory=list)
    hours: float = 0.0
    vcpus: float = 0.0
    memory_mb: float = 0.0
    local_gb: float = 0.0

    def add(self, server: pb.ServerUsage) -> None:
        hours = self.period.hours(server)
        self.servers.append(server)
        self.hours += hours
        self.vcpus += hours * server.vcpus
        self.memory_mb += hours * server.memory_mb
        self.local_gb += hours * server.local_gb


def _at(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)


def _stamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def _state(server: pb.ServerUsage, _: Request) -> str:
    return "terminated" if server.HasField("ended_at") else VM_STATES.get(server.vm_state, "")


_PERIOD = "usage period"
SERVER = View(
    Field("instance_id", UUID, lambda s, _: s.server_id, required=True),
    Field("name", STRING, lambda s, _: s.name, required=True),
    Field("tenant_id", KEYSTONE_ID, lambda s, _: s.project_id, required=True),
    Field("flavor", STRING, lambda s, _: s.flavor_name, required=True),
    Field("hours", NUMBER, lambda s, q: q.memo[_PERIOD].hours(s), required=True),
    Field("vcpus", INTEGER, lambda s, _: s.vcpus, required=True),
    Field("memory_mb", INTEGER, lambda s, _: s.memory_mb, required=True),
    Field("local_gb", INTEGER, lambda s, _: s.local_gb, required=True),
    Field("started_at", MICROTIME, lambda s, _: times.field_micro(s, "launched_at"), required=True),
    Field("ended_at", MICROTIME_OR_NULL, lambda s, _: times.field_micro(s, "ended_at"), required=True),
    Field("state", STRING, _state, required=True),
    Field("uptime", INTEGER, lambda s, q: q.memo[_PERIOD].uptime(s), required=True),
)
_SUMS = (
    Field("tenant_id", KEYSTONE_ID, lambda p, _: p.id, required=True),
    Field("start", MICROTIME, lambda p, _: times.micro(_stamp(p.period.begin)), required=True),
    Field("stop", MICROTIME, lambda p, _: times.micro(_stamp(p.period.end)), required=True),
    Field("total_hours", NUMBER, lambda p, _: p.hours, required=True),
    Field("total_vcpus_usage", NUMBER, lambda p, _: p.vcpus, required=True),
    Field("total_memory_mb_usage", NUMBER, lambda p, _: p.memory_mb, required=True),
    Field("total_local_gb_usage", NUMBER, lambda p, _: p.local_gb, required=True),
)
PROJECT = View(*_SUMS)
DETAILED = View(
    *_SUMS, Field("server_usages", Arr(SERVER), lambda p, q: q.show_all(SERVER, p.servers), required=True)
)

_PAGES = (
    Field("limit", NON_NEGATIVE, since="2.40", once=True),
    Field("marker", STRING, since="2.40", once=True),
)
_WHEN = (Field("start", STRING), Field("end", STRING))


@usage.get(
    PATH,
    "index",
    policy=f"{RULES}:list",
    query=Query(*_WHEN, Field("detailed", STRING), *_PAGES, strict="2.75"),
    answer=Obj(
        Field("tenant_usages", Arr(Obj(*_SUMS, Field("server_usages", Arr(SERVER)))), required=True),
        Field("tenant_usages_links", paging.NEXT_LINKS, since="2.40"),
    ),
)
def index(request: Request) -> dict[str, Any]:
    """Show what all projects have used."""
    found, last, limit = _projects(request, "")
    # The stock command line writes it out.
    detailed = request.query.get("detailed", [""])[0].lower() in ("1", "true")
    view = DETAILED if detailed else PROJECT
    answer = {"tenant_usages": request.show_all(view, found)}
    return _linked(request, PATH, answer, "tenant_usages_links", found, last, limit)


@usage.get(
    PATH + "/{tenant_id}",
    query=Query(*_WHEN, *_PAGES, strict="2.75"),
    answer=Obj(
        Field("tenant_usage", Either(DETAILED, Obj()), required=True),
        Field("tenant_usage_links", paging.NEXT_LINKS, since="2.40"),
    ),
)
def show(request: Request) -> dict[str, Any]:
    """Show what a project has used; nothing at all where it had no server."""
    project_id = request.args["tenant_id"]
    request.enforce(f"{RULES}:show", {"project_id": project_id, "user_id": request.user_id})
    found, last, limit = _projects(request, project_id)
    answer = {"tenant_usage": request.show(DETAILED, found[0]) if found else {}}
    return _linked(request, f"{PATH}/{project_id}", answer, "tenant_usage_links", found, last, limit)


def _projects(request: Request, project_id: str) -> tuple[list[Project], str, int]:
    """The projects that had servers within the period, the last server of the page, and its size."""
    period = request.memo[_PERIOD] = _period(request)
    paged = request.version in PAGED
    limit = paging.limit_of(request) if paged else 0
    if paged and not limit:
        return [], "", 0
    wanted = api.ListServerUsagesRequest(
        project_id=project_id,
        begin=_stamp(period.begin),
        end=_stamp(period.end),
        page_size=limit,
        page_token=request.last("marker") or "",
    )
    servers = request.services.usage.ListServerUsages(wanted).usages
    projects: dict[str, Project] = {}
    for server in servers:
        projects.setdefault(server.project_id, Project(server.project_id, period)).add(server)
    full = bool(limit) and len(servers) >= limit
    return list(projects.values()), servers[-1].server_id if full else "", limit


def _linked(
    request: Request,
    path: str,
    answer: dict[str, Any],
    links: str,
    found: list[Project],
    last: str,
    limit: int,
) -> dict[str, Any]:
    if found and last and limit:
        answer[links] = request.links.next(path, request.query, last)
    return answer


def _period(request: Request) -> Period:
    """As asked for; the four weeks until now if not."""
    now = datetime.now(UTC)
    end = _time(request, "end") or now
    try:
        begin = _time(request, "start") or end - USUAL
    except OverflowError:
        raise Fault(400, "query.end is too long ago.") from None
    if begin > end:
        raise Fault(400, "query.start is later than query.end.")
    return Period(begin, end, now)


def _time(request: Request, name: str) -> datetime | None:
    given = request.query.get(name, [""])[0]
    return _at(times.read(given, name)) if given else None
