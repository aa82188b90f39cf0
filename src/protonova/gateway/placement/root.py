"""The root of the Placement API: which versions are spoken. It needs no token."""

from __future__ import annotations

from typing import Any

from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import STRING, Arr, Field, Obj
from protonova.gateway.validation import Query
from protonova.gateway.versions import PLACEMENT

PATH = "/"

root = Resource("root")

VERSION = Obj(
    Field("id", STRING, required=True),
    Field("min_version", STRING, required=True),
    Field("max_version", STRING, required=True),
    Field("status", STRING, required=True),
    Field("links", Arr(Obj(extra=True)), required=True),
)
DOCUMENT = {
    "versions": [
        {
            "id": f"v{PLACEMENT.minimum}",
            "min_version": PLACEMENT.minimum,
            "max_version": PLACEMENT.maximum,
            "status": "CURRENT",
            "links": [{"rel": "self", "href": ""}],
        }
    ]
}


@root.get(PATH, public=True, query=Query(), answer=Obj(Field("versions", Arr(VERSION), required=True)))
def show(_: Request) -> dict[str, Any]:
    """List the versions of the API."""
    return DOCUMENT


@root.operation("check", "HEAD", PATH, public=True, query=Query())
def check(_: Request) -> None:
    """Tell that the API is there."""
