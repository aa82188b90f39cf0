"""What projects use, from 1.9 on.

History: 1.38 by the type of the consumers.
"""

from __future__ import annotations

from typing import Any

from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.placement.types import STRICT
from protonova.gateway.request import Request
from protonova.gateway.schema import INTEGER, Field, Map, Obj, text
from protonova.gateway.validation import Query
from protonova.gateway.versions import Window
from protonova.placement.v1 import allocation_pb2 as pb

BY_TYPE = Window.parse("1.38-")

usages = Resource("usages")

QUERY = Query(
    Field("project_id", text(1, 255), once=True),
    Field("user_id", text(1, 255), once=True),
    Field("consumer_type", text(1, 255, r"^[A-Z0-9_]+$|^all$|^unknown$"), since="1.38", once=True),
    strict=STRICT,
)


@usages.get(
    "/usages",
    "list",
    since="1.9",
    query=QUERY,
    answer=Obj(
        Field("usages", Map("", INTEGER), until="1.37", required=True),
        Field("usages", Map("", Map("", INTEGER)), since="1.38", required=True),
    ),
)
def show(request: Request) -> dict[str, Any]:
    """Show what a project, or a user in it, uses."""
    project_id = request.last("project_id")
    if project_id is None:
        raise Fault(400, "query.project_id is required.")
    request.enforce("placement:usages", {"project_id": project_id})
    grouped = request.version in BY_TYPE
    wanted = pb.GetUsagesRequest(
        project_id=project_id,
        user_id=request.last("user_id") or "",
        consumer_type=(request.last("consumer_type") or "") if grouped else "all",
    )
    groups = request.services.allocations.GetUsages(wanted).groups
    if not grouped:
        return {"usages": dict(groups[0].resources) if groups else {}}
    return {
        "usages": {
            group.consumer_type or "unknown": {
                **group.resources,
                "consumer_count": group.consumer_count,
            }
            for group in groups
        }
    }
