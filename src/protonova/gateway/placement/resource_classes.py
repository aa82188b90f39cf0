"""Resource classes, from 1.2 on.

History: until 1.6 a PUT renamed a class, since 1.7 it makes sure that one exists.
"""

from __future__ import annotations

import re
from typing import Any

from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.placement.providers import NO_QUERY, href, location
from protonova.gateway.placement.types import CUSTOM_NAME
from protonova.gateway.request import Request, Response
from protonova.gateway.schema import STRING, Arr, Field, Obj
from protonova.placement.v1 import resource_class_pb2 as pb

RULES = "placement:resource_classes"
ALL = "/resource_classes"
ONE = "/resource_classes/{name}"

classes = Resource("resource_classes")

_CUSTOM = re.compile(r"CUSTOM_[A-Z0-9_]{1,248}")
BODY = Obj(Field("name", CUSTOM_NAME, required=True))
CLASS = Obj(Field("name", STRING, required=True), Field("links", Arr(Obj(extra=True)), required=True))


def _shown(request: Request, name: str) -> dict[str, Any]:
    return {"name": name, "links": [{"rel": "self", "href": href(request, f"{ALL}/{name}")}]}


def _names(request: Request) -> list[str]:
    return list(request.services.resource_classes.ListResourceClasses(pb.ListResourceClassesRequest()).names)


@classes.get(
    ALL,
    "list",
    since="1.2",
    policy=f"{RULES}:list",
    query=NO_QUERY,
    answer=Obj(Field("resource_classes", Arr(CLASS), required=True)),
)
def index(request: Request) -> dict[str, Any]:
    """List resource classes."""
    return {"resource_classes": [_shown(request, name) for name in _names(request)]}


@classes.post(ALL, "create", since="1.2", policy=f"{RULES}:create", query=NO_QUERY, body=BODY, status=201)
def create(request: Request) -> Response:
    """Create a custom resource class."""
    name = request.body["name"]
    request.services.resource_classes.EnsureResourceClass(
        pb.EnsureResourceClassRequest(name=name, must_be_new=True)
    )
    return Response(headers=location(request, f"{ALL}/{name}"))


@classes.get(ONE, "show", since="1.2", policy=f"{RULES}:show", query=NO_QUERY, answer=CLASS)
def show(request: Request) -> dict[str, Any]:
    """Show a resource class."""
    name = request.args["name"]
    if name not in _names(request):
        raise Fault(404, f"There is no resource class {name}.")
    return _shown(request, name)


@classes.put(
    ONE,
    "rename",
    since="1.2",
    until="1.6",
    policy=f"{RULES}:update",
    query=NO_QUERY,
    body=BODY,
    answer=CLASS,
)
def rename(request: Request) -> dict[str, Any]:
    """Rename a custom resource class."""
    new_name = request.body["name"]
    request.services.resource_classes.RenameResourceClass(
        pb.RenameResourceClassRequest(name=request.args["name"], new_name=new_name)
    )
    return _shown(request, new_name)


@classes.put(ONE, "ensure", since="1.7", policy=f"{RULES}:update", query=NO_QUERY, status=204)
def ensure(request: Request) -> Response:
    """Make sure that a custom resource class exists."""
    name = request.args["name"]
    if _CUSTOM.fullmatch(name) is None:
        raise Fault(400, f"'{name}' is not the name of a custom class: CUSTOM_ and A-Z, 0-9, _.")
    made = request.services.resource_classes.EnsureResourceClass(pb.EnsureResourceClassRequest(name=name))
    return Response(code=201 if made.created else None, headers=location(request, f"{ALL}/{name}"))


@classes.delete(ONE, "delete", since="1.2", policy=f"{RULES}:delete", query=NO_QUERY, status=204)
def delete(request: Request) -> None:
    """Delete a custom resource class."""
    request.services.resource_classes.DeleteResourceClass(
        pb.DeleteResourceClassRequest(name=request.args["name"])
    )
