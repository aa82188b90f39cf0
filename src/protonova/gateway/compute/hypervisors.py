"""Hypervisors.

History: 2.28 cpu_info is an object; 2.33 pages; 2.53 ids are UUIDs, search and servers become parameters of
the list, strict queries; 2.75 an empty list of servers is shown; 2.88 no more capacities and usages, uptime
comes into the details.
"""

from __future__ import annotations

from typing import Any

import orjson

from protonova.api.v1 import host_pb2 as api
from protonova.common.v1 import host_pb2 as pb
from protonova.gateway import paging
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import (
    ABSENT,
    BOOLEAN,
    FQDN,
    INTEGER,
    INTEGER_OR_NULL,
    NON_NEGATIVE,
    OBJECT,
    STRING,
    STRING_OR_NULL,
    UUID,
    Arr,
    Field,
    Getter,
    Obj,
    View,
    natural,
    one_of,
    truth,
)
from protonova.gateway.validation import Query, is_uuid
from protonova.gateway.versions import Window

RULES = "os_compute_api:os-hypervisors"
EMPTY_SERVERS = Window.parse("2.75-")
BY_UUID = Window.parse("2.53-")
PAGED = Window.parse("2.33-")
CAPACITIES_UNTIL = "2.87"

hypervisors = Resource("os-hypervisors")


def _status(hypervisor: pb.Hypervisor, _: Request) -> str:
    return "disabled" if hypervisor.service.disabled else "enabled"


def _servers(hypervisor: pb.Hypervisor, request: Request) -> Any:
    if not truth(request.last("with_servers", "false")):
        return ABSENT
    found = [{"uuid": server.id, "name": server.name} for server in hypervisor.servers]
    return found if found or request.version in EMPTY_SERVERS else ABSENT


def _cpu(hypervisor: pb.Hypervisor, _: Request) -> Any:
    return orjson.loads(hypervisor.cpu_info) if hypervisor.cpu_info else {}


_SERVER = Obj(Field("uuid", UUID, required=True), Field("name", STRING, required=True))
_IDS = (
    Field("id", INTEGER, lambda h, _: h.number, until="2.52", required=True),
    Field("id", UUID, lambda h, _: h.id, since="2.53", required=True),
)
_COMMON = (
    *_IDS,
    Field("hypervisor_hostname", STRING, lambda h, _: h.hostname, required=True),
    Field("state", one_of("up", "down"), lambda h, _: "up" if h.service.up else "down", required=True),
    Field("status", one_of("enabled", "disabled"), _status, required=True),
)
SUMMARY = View(*_COMMON, Field("servers", Arr(_SERVER), _servers, since="2.53"))
SERVICE = View(
    Field("id", INTEGER, lambda s, _: s.number, until="2.52", required=True),
    Field("id", UUID, lambda s, _: s.id, since="2.53", required=True),
    Field("host", STRING, lambda s, _: s.host, required=True),
    Field("disabled_reason", STRING_OR_NULL, lambda s, _: s.disabled_reason or None, required=True),
)
_CAPACITIES: tuple[tuple[str, Getter], ...] = (
    ("vcpus", lambda h, _: h.vcpus),
    ("vcpus_used", lambda h, _: h.vcpus_used),
    ("memory_mb", lambda h, _: h.memory_mb),
    ("memory_mb_used", lambda h, _: h.memory_mb_used),
    ("free_ram_mb", lambda h, _: h.memory_mb - h.memory_mb_used),
    ("local_gb", lambda h, _: h.local_gb),
    ("local_gb_used", lambda h, _: h.local_gb_used),
    ("free_disk_gb", lambda h, _: h.local_gb - h.local_gb_used),
    ("disk_available_least", lambda h, _: h.disk_available_least_gb),
    ("running_vms", lambda h, _: h.running_guests),
    ("current_workload", lambda h, _: h.workload),
)
_NUMBERS = tuple(
    Field(name, INTEGER_OR_NULL, read, until=CAPACITIES_UNTIL, required=True) for name, read in _CAPACITIES
)
DETAIL = View(
    *_COMMON,
    Field("hypervisor_type", STRING, lambda h, _: h.type, required=True),
    Field("hypervisor_version", INTEGER, lambda h, _: h.version, required=True),
    Field("host_ip", STRING_OR_NULL, lambda h, _: h.host_ip or None, required=True),
    Field("service", SERVICE, lambda h, q: q.show(SERVICE, h.service), required=True),
    Field("cpu_info", STRING, lambda h, _: h.cpu_info, until="2.27", required=True),
    Field("cpu_info", OBJECT, _cpu, since="2.28", until=CAPACITIES_UNTIL, required=True),
    *_NUMBERS,
    Field("uptime", STRING_OR_NULL, lambda h, _: h.uptime or None, since="2.88", required=True),
    Field("servers", Arr(_SERVER), _servers, since="2.53"),
)

LIST_QUERY = Query(
    Field("limit", NON_NEGATIVE, versions="2.33-2.52"),
    Field("limit", NON_NEGATIVE, since="2.53", once=True),
    Field("marker", STRING, versions="2.33-2.52"),
    Field("marker", STRING, since="2.53", once=True),
    Field("hypervisor_hostname_pattern", FQDN, since="2.53", once=True),
    Field("with_servers", BOOLEAN, since="2.53", once=True),
    strict="2.53",
)
ONE_QUERY = Query(Field("with_servers", BOOLEAN, since="2.53", once=True), strict="2.53")
ANY_QUERY = Query()


def _many(view: View) -> Obj:
    return Obj(
        Field("hypervisors", Arr(view), required=True),
        Field("hypervisors_links", paging.NEXT_LINKS, since="2.33"),
    )


def _list(request: Request, view: View, path: str) -> dict[str, Any]:
    pattern = request.last("hypervisor_hostname_pattern") or ""
    asked = "limit" in request.query or "marker" in request.query
    if pattern and asked:
        raise Fault(
            400, "query.hypervisor_hostname_pattern finds all at once: it goes without limit and marker."
        )
    limit = paging.limit_of(request)
    paged = request.version in PAGED and not pattern
    wanted = api.ListHypervisorsRequest(
        hostname_pattern=pattern,
        with_servers=truth(request.last("with_servers", "false")),
        page_size=limit if paged else -1,
        page_token=request.last("marker") or "",
    )
    found = request.services.hosts.ListHypervisors(wanted).hypervisors if limit or not paged else []
    if pattern and not found:
        raise Fault(404, f"No hypervisor has '{pattern}' in its name.")
    shown = request.show_all(view, found)
    if not paged:
        return {"hypervisors": shown}
    marker = ""
    if found:
        marker = found[-1].id if request.version in BY_UUID else str(found[-1].number)
    return paging.page(request, path, "hypervisors", shown, limit, marker)


@hypervisors.get("/os-hypervisors", "index", policy=f"{RULES}:list", query=LIST_QUERY, answer=_many(SUMMARY))
def index(request: Request) -> dict[str, Any]:
    """List hypervisors."""
    return _list(request, SUMMARY, "/os-hypervisors")


@hypervisors.get(
    "/os-hypervisors/detail",
    "detail",
    policy=f"{RULES}:list-detail",
    query=LIST_QUERY,
    answer=_many(DETAIL),
)
def detail(request: Request) -> dict[str, Any]:
    """List hypervisors with details."""
    return _list(request, DETAIL, "/os-hypervisors/detail")


def _of_totals(read: Getter) -> Getter:
    return lambda statistics, request: read(statistics.totals, request)


STATISTICS = View(
    Field("count", INTEGER, lambda s, _: s.count, required=True),
    *(Field(name, INTEGER_OR_NULL, _of_totals(read), required=True) for name, read in _CAPACITIES),
)


@hypervisors.get(
    "/os-hypervisors/statistics",
    "statistics",
    until=CAPACITIES_UNTIL,
    policy=f"{RULES}:statistics",
    query=ANY_QUERY,
    answer=Obj(Field("hypervisor_statistics", STATISTICS, required=True)),
)
def statistics(request: Request) -> dict[str, Any]:
    """Show sums over all hypervisors."""
    found = request.services.hosts.GetHypervisorStatistics(api.GetHypervisorStatisticsRequest())
    return {"hypervisor_statistics": request.show(STATISTICS, found)}


def _find(request: Request) -> pb.Hypervisor:
    hypervisor_id = request.args["hypervisor_id"]
    wanted = api.GetHypervisorRequest(with_servers=truth(request.last("with_servers", "false")))
    if request.version in BY_UUID:
        if not is_uuid(hypervisor_id):
            raise Fault(400, f"'{hypervisor_id}' is not the UUID of a hypervisor.")
        wanted.id = hypervisor_id
    else:
        if (number := natural(hypervisor_id)) is None:
            raise Fault(404, f"There is no hypervisor '{hypervisor_id}'.")
        wanted.number = number
    return request.services.hosts.GetHypervisor(wanted).hypervisor


@hypervisors.get(
    "/os-hypervisors/{hypervisor_id}",
    "show",
    policy=f"{RULES}:show",
    query=ONE_QUERY,
    answer=Obj(Field("hypervisor", DETAIL, required=True)),
)
def show(request: Request) -> dict[str, Any]:
    """Show a hypervisor."""
    return {"hypervisor": request.show(DETAIL, _find(request))}


UPTIME = View(*_COMMON, Field("uptime", STRING, lambda h, _: h.uptime, required=True))


@hypervisors.get(
    "/os-hypervisors/{hypervisor_id}/uptime",
    "uptime",
    until=CAPACITIES_UNTIL,
    policy=f"{RULES}:uptime",
    also=(501,),
    query=ANY_QUERY,
    answer=Obj(Field("hypervisor", UPTIME, required=True)),
)
def uptime(request: Request) -> dict[str, Any]:
    """Show how long a hypervisor has been up."""
    found = _find(request)
    if not found.service.up:
        raise Fault(400, f"The compute service on {found.service.host} is down.")
    if not found.uptime:
        raise Fault(501, f"The hypervisor {found.hostname} does not tell its uptime.")
    return {"hypervisor": request.show(UPTIME, found)}


FOUND = View(*_COMMON)
FOUND_WITH_SERVERS = View(
    *_COMMON,
    Field(
        "servers",
        Arr(_SERVER),
        lambda h, _: [{"uuid": server.id, "name": server.name} for server in h.servers] or ABSENT,
    ),
)


def _search(request: Request, view: View, with_servers: bool) -> dict[str, Any]:
    pattern = request.args["hypervisor_id"]
    wanted = api.ListHypervisorsRequest(hostname_pattern=pattern, with_servers=with_servers, page_size=-1)
    found = request.services.hosts.ListHypervisors(wanted).hypervisors
    if not found:
        raise Fault(404, f"No hypervisor has '{pattern}' in its name.")
    return {"hypervisors": request.show_all(view, found)}


@hypervisors.get(
    "/os-hypervisors/{hypervisor_id}/search",
    "search",
    until="2.52",
    policy=f"{RULES}:search",
    query=ANY_QUERY,
    answer=Obj(Field("hypervisors", Arr(FOUND), required=True)),
)
def search(request: Request) -> dict[str, Any]:
    """Find hypervisors by a part of their name."""
    return _search(request, FOUND, with_servers=False)


@hypervisors.get(
    "/os-hypervisors/{hypervisor_id}/servers",
    "servers",
    until="2.52",
    policy=f"{RULES}:servers",
    query=ANY_QUERY,
    answer=Obj(Field("hypervisors", Arr(FOUND_WITH_SERVERS), required=True)),
)
def servers(request: Request) -> dict[str, Any]:
    """Find hypervisors by a part of their name, with their servers."""
    return _search(request, FOUND_WITH_SERVERS, with_servers=True)
