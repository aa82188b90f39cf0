"""Hosts, as clients before 2.43 knew them (os-hosts): compute services by host, with what servers take there.

`status` is the compute service's own; nothing here can put a host into maintenance, or switch it on or off, so
these say 501 as they do wherever a hypervisor cannot.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from protonova.api.v1 import host_pb2 as api
from protonova.api.v1 import server_pb2
from protonova.common.v1 import host_pb2 as pb
from protonova.common.v1 import server_query_pb2
from protonova.common.v1.server_pb2 import Server
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import INTEGER, STRING, Arr, Field, Obj, View, one_of
from protonova.gateway.validation import Query

RULES = "os_compute_api:os-hosts"
LAST = "2.42"
_PAGE = 1000

hosts = Resource("os-hosts")

HOST = View(
    Field("host_name", STRING, lambda s, _: s.host, required=True),
    Field("service", STRING, lambda s, _: s.binary.removeprefix("nova-"), required=True),
    Field("zone", STRING, lambda s, _: s.availability_zone, required=True),
)


@dataclass
class Share:
    """What there is of a host, or taken, by whom."""

    host: str
    project: str
    cpu: int = 0
    memory_mb: int = 0
    disk_gb: int = 0

    def add(self, server: Server) -> None:
        flavor = server.flavor
        self.cpu += flavor.vcpus
        self.memory_mb += flavor.memory_mb
        self.disk_gb += flavor.root_gb + flavor.ephemeral_gb


RESOURCE = View(
    Field("host", STRING, lambda s, _: s.host, required=True),
    Field("project", STRING, lambda s, _: s.project, required=True),
    Field("cpu", INTEGER, lambda s, _: s.cpu, required=True),
    Field("memory_mb", INTEGER, lambda s, _: s.memory_mb, required=True),
    Field("disk_gb", INTEGER, lambda s, _: s.disk_gb, required=True),
)
SHARE = View(Field("resource", RESOURCE, lambda s, q: q.show(RESOURCE, s), required=True))

_WORDS = one_of(
    *(spell(word) for word in ("enable", "disable") for spell in (str.lower, str.title, str.upper))
)
UPDATE = Obj(Field("status", _WORDS), Field("maintenance_mode", _WORDS), minProperties=1)


@hosts.get(
    "/os-hosts",
    "index",
    until=LAST,
    policy=f"{RULES}:list",
    query=Query(Field("zone", STRING)),
    answer=Obj(Field("hosts", Arr(HOST), required=True)),
)
def index(request: Request) -> dict[str, Any]:
    """List hosts that may take servers."""
    zone = request.last("zone")
    found = [
        service
        for service in request.services.hosts.ListComputeServices(api.ListComputeServicesRequest()).services
        if not service.disabled and zone in (None, "", service.availability_zone)
    ]
    return {"hosts": request.show_all(HOST, found)}


@hosts.get(
    "/os-hosts/{host_name}",
    until=LAST,
    policy=f"{RULES}:show",
    query=Query(),
    answer=Obj(Field("host", Arr(SHARE), required=True)),
)
def show(request: Request) -> dict[str, Any]:
    """Show what there is of a host, what is used of it, and by which projects."""
    name = _service(request).host
    wanted = api.ListHypervisorsRequest(page_size=-1)
    every = request.services.hosts.ListHypervisors(wanted).hypervisors
    found = [hypervisor for hypervisor in every if hypervisor.service.host == name]
    if not found:
        raise Fault(404, f"Compute host {name} could not be found.")
    node = found[0]
    most, projects = Share(name, "(used_max)"), dict[str, Share]()
    for server in _servers(request, name):
        most.add(server)
        projects.setdefault(server.project_id, Share(name, server.project_id)).add(server)
    shares = [
        Share(name, "(total)", node.vcpus, node.memory_mb, node.local_gb),
        Share(name, "(used_now)", node.vcpus_used, node.memory_mb_used, node.local_gb_used),
        most,
        *projects.values(),
    ]
    return {"host": request.show_all(SHARE, shares)}


@hosts.put(
    "/os-hosts/{host_name}",
    until=LAST,
    policy=f"{RULES}:update",
    body=UPDATE,
    query=Query(),
    also=(501,),
    answer=Obj(
        Field("host", STRING, required=True),
        Field("status", one_of("enabled", "disabled")),
        Field("maintenance_mode", one_of("on_maintenance", "off_maintenance")),
    ),
)
def update(request: Request) -> dict[str, Any]:
    """Enable or disable the compute service of a host."""
    service = _service(request)
    if "maintenance_mode" in request.body:
        raise Fault(501, f"Host {service.host} cannot be put into maintenance.")
    disabled = request.body["status"].lower() == "disable"
    change = api.UpdateComputeServiceRequest(id=service.id, disabled=disabled)
    request.services.hosts.UpdateComputeService(change)
    return {"host": service.host, "status": "disabled" if disabled else "enabled"}


def _power(word: str, rule: str) -> None:
    def refuse(request: Request) -> NoReturn:
        raise Fault(501, f"Host {_service(request).host} cannot be switched by us: {word}.")

    refuse.__doc__ = f"Ask a host for its {word}."
    hosts.get(
        f"/os-hosts/{{host_name}}/{word}",
        word,
        until=LAST,
        policy=f"{RULES}:{rule}",
        query=Query(),
        also=(501,),
        answer=Obj(Field("host", STRING, required=True), Field("power_action", STRING, required=True)),
    )(refuse)


for _word, _rule in (("reboot", "reboot"), ("shutdown", "shutdown"), ("startup", "start")):
    _power(_word, _rule)


def _service(request: Request) -> pb.ComputeService:
    """Of the host that the path names."""
    name = request.args["host_name"]
    wanted = api.ListComputeServicesRequest(host=name)
    for service in request.services.hosts.ListComputeServices(wanted).services:
        return service
    raise Fault(404, f"Compute host {name} could not be found.")


def _servers(request: Request, host: str) -> Iterator[Server]:
    """All that are there, of whatever project."""
    wanted = server_pb2.ListServersRequest(page_size=_PAGE, view=server_query_pb2.SERVER_VIEW_FULL)
    wanted.filter.texts.add(field="host", kind=server_query_pb2.TextMatch.KIND_EXACT, value=host)
    while True:
        found = request.services.servers.ListServers(wanted).servers
        yield from found
        if len(found) < _PAGE:
            return
        wanted.page_token = found[-1].id
