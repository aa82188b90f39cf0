"""/versions/{id}: a version document for those who have a token already."""

from __future__ import annotations

from typing import Any

from protonova.gateway import discovery
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import OBJECT, Field, Obj
from protonova.gateway.validation import Query

versions = Resource("versions")

_PREFIXES = {entry["id"]: prefix for prefix, entry in discovery.VERSIONS.items()}


@versions.get("/versions/{id}", "show", query=Query(), answer=Obj(Field("version", OBJECT, required=True)))
def show(request: Request) -> dict[str, Any]:
    """Show a version document."""
    prefix = "v2" if request.legacy else _PREFIXES.get(request.args["id"])
    if prefix is None:
        raise Fault(404, f"There is no version '{request.args['id']}'.")
    return discovery.one_version(request.links.base, prefix)
