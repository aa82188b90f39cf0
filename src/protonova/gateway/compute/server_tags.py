"""Tags of servers, from 2.26 on."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from protonova.api.v1 import server_pb2 as api
from protonova.gateway.compute.servers import find
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request, Response
from protonova.gateway.schema import TAG, Arr, Field, Obj
from protonova.gateway.validation import Query

PATH = "/servers/{server_id}/tags"
RULES = "os_compute_api:os-server-tags"
MOST = 50

tags = Resource("servers.tags")

ANY_QUERY = Query()
ALL = Obj(Field("tags", Arr(TAG, maxItems=MOST), required=True))
_TAG = re.compile(r"[^,/]{1,60}")


def _change(request: Request, **change: Any) -> api.UpdateServerTagsResponse:
    return request.services.servers.UpdateServerTags(
        api.UpdateServerTagsRequest(id=request.args["server_id"], **change)
    )


@tags.get(PATH, "index", since="2.26", policy=f"{RULES}:index", query=ANY_QUERY, answer=ALL)
def index(request: Request) -> dict[str, Any]:
    """List a server's tags."""
    return {"tags": list(find(request).tags)}


@tags.put(PATH, "update_all", since="2.26", policy=f"{RULES}:update_all", body=ALL, answer=ALL)
def update_all(request: Request) -> dict[str, Any]:
    """Replace a server's tags."""
    return {"tags": list(_change(request, replace=True, add=request.body["tags"]).tags)}


@tags.delete(PATH, "delete_all", since="2.26", policy=f"{RULES}:delete_all", status=204)
def delete_all(request: Request) -> None:
    """Remove all tags."""
    _change(request, replace=True)


@tags.get(PATH + "/{tag}", "show", since="2.26", policy=f"{RULES}:show", query=ANY_QUERY, status=204)
def show(request: Request) -> None:
    """Tell whether a server has a tag."""
    if request.args["tag"] not in find(request).tags:
        raise Fault(404, f"Server {request.args['server_id']} has no tag '{request.args['tag']}'.")


@tags.put(PATH + "/{tag}", "update", since="2.26", policy=f"{RULES}:update", status=204, also=(201,))
def update(request: Request) -> Response | None:
    """Add a tag."""
    tag = request.args["tag"]
    if _TAG.fullmatch(tag) is None:
        raise Fault(400, f"'{tag}' cannot be a tag: tags have 1 to 60 characters, no comma and no slash.")
    if not _change(request, add=[tag]).added:
        return None
    href = request.links.pair("servers", request.args["server_id"])[0]["href"]
    return Response(code=201, headers=(("Location", f"{href}/tags/{quote(tag)}"),))


@tags.delete(PATH + "/{tag}", "delete", since="2.26", policy=f"{RULES}:delete", status=204)
def delete(request: Request) -> None:
    """Remove a tag."""
    _change(request, remove=[request.args["tag"]])
