"""Servers: list, create, show, update, delete.

What is shown stands in ``server_view``, what a create takes in ``server_create``, what lists filter by in
``server_filters``. History of the operations themselves: 2.69 servers of a cell that does not answer are shown
with what is known of them; 2.75 an update answers like a show.
"""

from __future__ import annotations

from typing import Any

from protonova.api.v1 import server_pb2 as api
from protonova.common.v1 import server_pb2 as pb
from protonova.common.v1 import server_query_pb2
from protonova.gateway import paging
from protonova.gateway.compute import server_view as views
from protonova.gateway.compute.server_create import CREATE, wanted_servers
from protonova.gateway.compute.server_filters import LIST_QUERY, MatchesNothing, filter_of, sort_of
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request, Response
from protonova.gateway.schema import (
    DESCRIPTION,
    DISK_CONFIG,
    FQDN,
    HOSTNAME,
    IPV4,
    IPV6,
    NAME,
    STRING,
    Arr,
    Either,
    Field,
    Obj,
    Plain,
    View,
    truth,
)
from protonova.gateway.validation import canonical_address
from protonova.gateway.versions import Window

servers = Resource("servers")

PARTIAL = Window.parse("2.69-")

ONE = Obj(
    Field("server", views.SHOW, until="2.68", required=True),
    Field("server", Either(views.SHOW, views.PARTIAL_SHOW), since="2.69", required=True),
)
UPDATE = Obj(
    Field(
        "server",
        Obj(
            Field("name", NAME),
            Field("OS-DCF:diskConfig", DISK_CONFIG),
            Field("accessIPv4", IPV4),
            Field("accessIPv6", IPV6),
            Field("description", DESCRIPTION, since="2.19"),
            Field("hostname", HOSTNAME, since="2.90", until="2.93"),
            Field("hostname", FQDN, since="2.94"),
            Field(
                "pinned_availability_zone",
                Plain(type=["string", "null"], minLength=1, maxLength=255),
                since="2.104",
            ),
        ),
        required=True,
    )
)


def find(request: Request, name: str = "server_id", include_deleted: bool = False) -> pb.Server:
    """The server a path names."""
    wanted = api.GetServerRequest(
        id=request.args[name],
        allow_partial=request.version in PARTIAL,
        include_deleted=include_deleted,
    )
    return request.services.servers.GetServer(wanted).server


def _many(view: View, partial: View) -> Obj:
    return Obj(
        Field("servers", Arr(view), until="2.68", required=True),
        Field("servers", Arr(Either(view, partial)), since="2.69", required=True),
        Field("servers_links", paging.NEXT_LINKS),
    )


def _list(request: Request, path: str, whole: View, partial: View, rule: str, full: bool) -> dict[str, Any]:
    limit = paging.limit_of(request)
    try:
        wanted = api.ListServersRequest(
            filter=filter_of(request, rule),
            sort=sort_of(request),
            page_size=limit,
            page_token=request.last("marker") or "",
            view=server_query_pb2.SERVER_VIEW_FULL if full else server_query_pb2.SERVER_VIEW_SUMMARY,
            allow_partial=request.version in PARTIAL,
        )
    except MatchesNothing:
        return {"servers": []}
    if not limit:
        return {"servers": []}
    found = request.services.servers.ListServers(wanted).servers
    show_whole, show_partial = request.shower(whole), request.shower(partial)
    shown = [(show_partial if server.partial else show_whole)(server, request) for server in found]
    return paging.page(request, path, "servers", shown, limit, paging.last_id(found))


@servers.get(
    "/servers",
    "index",
    policy="os_compute_api:servers:index",
    query=LIST_QUERY,
    answer=_many(views.SUMMARY, views.PARTIAL_SUMMARY),
)
def index(request: Request) -> dict[str, Any]:
    """List servers."""
    rule = "os_compute_api:servers:index:get_all_tenants"
    return _list(request, "/servers", views.SUMMARY, views.PARTIAL_SUMMARY, rule, full=False)


@servers.get(
    "/servers/detail",
    "detail",
    policy="os_compute_api:servers:detail",
    query=LIST_QUERY,
    answer=_many(views.DETAIL, views.PARTIAL_DETAIL),
)
def detail(request: Request) -> dict[str, Any]:
    """List servers with details."""
    rule = "os_compute_api:servers:detail:get_all_tenants"
    return _list(request, "/servers/detail", views.DETAIL, views.PARTIAL_DETAIL, rule, full=True)


@servers.post(
    "/servers",
    "create",
    policy="os_compute_api:servers:create",
    body=CREATE,
    answer=Obj(Field("server", views.CREATED), Field("reservation_id", STRING)),
    status=202,
)
def create(request: Request) -> Response | dict[str, Any]:
    """Create one server or several."""
    made = request.services.servers.CreateServers(wanted_servers(request))
    if truth(request.body["server"].get("return_reservation_id", False)):
        return {"reservation_id": made.reservation_id}
    first = made.servers[0]
    shown = request.show(views.CREATED, first)
    if made.admin_password:
        shown["adminPass"] = made.admin_password
    location = request.links.pair("servers", first.id)[0]["href"]
    return Response({"server": shown}, headers=(("Location", location),))


@servers.get("/servers/{server_id}", "show", policy="os_compute_api:servers:show", answer=ONE)
def show(request: Request) -> dict[str, Any]:
    """Show a server."""
    return {"server": views.shown(request, views.SHOW, views.PARTIAL_SHOW, find(request))}


@servers.put(
    "/servers/{server_id}",
    "update",
    policy="os_compute_api:servers:update",
    body=UPDATE,
    answer=Obj(Field("server", views.UPDATED, required=True)),
)
def update(request: Request) -> dict[str, Any]:
    """Change a server's name, description and the like."""
    body = request.body["server"]
    server = pb.Server(id=request.args["server_id"])
    mask = []
    for key, field in (
        ("name", "name"),
        ("accessIPv4", "access_ip_v4"),
        ("accessIPv6", "access_ip_v6"),
        ("description", "description"),
        ("hostname", "hostname"),
        ("pinned_availability_zone", "pinned_availability_zone"),
    ):
        if key in body:
            mask.append(field)
            if body[key] is not None:
                setattr(server, field, body[key])
    server.access_ip_v6 = canonical_address(server.access_ip_v6)
    if "OS-DCF:diskConfig" in body:
        mask.append("auto_disk_config")
        server.auto_disk_config = body["OS-DCF:diskConfig"] == "AUTO"
    if not mask:
        return {"server": request.show(views.UPDATED, find(request))}
    wanted = api.UpdateServerRequest(server=server)
    wanted.update_mask.paths.extend(mask)
    changed = request.services.servers.UpdateServer(wanted).server
    return {"server": request.show(views.UPDATED, changed)}


@servers.delete("/servers/{server_id}", "delete", policy="os_compute_api:servers:delete", status=204)
def delete(request: Request) -> None:
    """Delete a server."""
    request.services.servers.DeleteServer(api.DeleteServerRequest(id=request.args["server_id"]))
