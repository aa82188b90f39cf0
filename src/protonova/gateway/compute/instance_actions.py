"""What was done to servers, and in which steps.

History: 2.21 also for deleted servers; 2.51 events for the owner; 2.58 pages, times of update and a strict
query; 2.62 hostId and host; 2.66 changes-before; 2.84 details.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from protonova.api.v1 import server_pb2 as api
from protonova.common.v1 import server_action_pb2 as pb
from protonova.gateway import paging, times
from protonova.gateway.compute.server_view import host_id
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import (
    MICROTIME,
    MICROTIME_OR_NULL,
    NON_NEGATIVE,
    STRING,
    STRING_OR_NULL,
    TIME,
    UUID,
    Arr,
    Field,
    Obj,
    View,
)
from protonova.gateway.validation import Query
from protonova.gateway.versions import Window

PATH = "/servers/{server_id}/os-instance-actions"
EVENTS_RULE = "os_compute_api:os-instance-actions:events"
DETAILS_RULE = "os_compute_api:os-instance-actions:events:details"
OF_DELETED = Window.parse("2.21-")

actions = Resource("servers.os-instance-actions")

_ACTION = (
    Field("action", STRING, lambda a, _: a.action, required=True),
    Field("instance_uuid", UUID, lambda a, _: a.server_id, required=True),
    Field("request_id", STRING, lambda a, _: a.request_id, required=True),
    Field("user_id", STRING_OR_NULL, lambda a, _: a.user_id or None, required=True),
    Field("project_id", STRING_OR_NULL, lambda a, _: a.project_id or None, required=True),
    Field("start_time", MICROTIME, lambda a, _: times.field_micro(a, "started_at"), required=True),
    Field("message", STRING_OR_NULL, lambda a, _: a.message or None, required=True),
    Field(
        "updated_at",
        MICROTIME_OR_NULL,
        lambda a, _: times.field_micro(a, "updated_at"),
        since="2.58",
        required=True,
    ),
)


@dataclass(frozen=True)
class Event:
    """A step of an action, with the project it was done in: that one's users know the host by its hash."""

    step: pb.ServerActionEvent
    project_id: str


EVENT = View(
    Field("event", STRING, lambda e, _: e.step.name, required=True),
    Field("start_time", MICROTIME, lambda e, _: times.field_micro(e.step, "started_at"), required=True),
    Field(
        "finish_time", MICROTIME_OR_NULL, lambda e, _: times.field_micro(e.step, "finished_at"), required=True
    ),
    Field("result", STRING_OR_NULL, lambda e, _: e.step.result or None, required=True),
    # What went wrong inside is in the operators' logs; nothing keeps tracebacks.
    Field("traceback", STRING_OR_NULL, lambda *_: None, when=EVENTS_RULE),
    Field("hostId", STRING, lambda e, _: host_id(e.project_id, e.step.host), since="2.62", required=True),
    Field("host", STRING, lambda e, _: e.step.host, since="2.62", when=EVENTS_RULE),
    Field("details", STRING_OR_NULL, lambda e, _: e.step.details or None, since="2.84", when=DETAILS_RULE),
)


def _events(action: pb.ServerAction, request: Request) -> list[dict[str, Any]]:
    return request.show_all(EVENT, [Event(step, action.project_id) for step in action.events])


SUMMARY = View(*_ACTION)
WHOLE = View(
    *_ACTION,
    Field("events", Arr(EVENT), _events, until="2.50", when=EVENTS_RULE),
    Field("events", Arr(EVENT), _events, since="2.51", required=True),
)

LIST_QUERY = Query(
    Field("limit", NON_NEGATIVE, since="2.58", once=True),
    Field("marker", STRING, since="2.58", once=True),
    Field("changes-since", TIME, since="2.58", once=True),
    Field("changes-before", TIME, since="2.66", once=True),
    strict="2.58",
)


@actions.get(
    PATH,
    "index",
    policy="os_compute_api:os-instance-actions:list",
    query=LIST_QUERY,
    answer=Obj(
        Field("instanceActions", Arr(SUMMARY), required=True),
        Field("links", paging.NEXT_LINKS, since="2.58"),
    ),
)
def index(request: Request) -> dict[str, Any]:
    """List what was done to a server, newest first."""
    server_id = request.args["server_id"]
    wanted = api.ListServerActionsRequest(
        server_id=server_id,
        include_deleted=request.version in OF_DELETED,
        page_token=request.last("marker") or "",
    )
    if (since := request.last("changes-since")) is not None:
        wanted.changed_since.CopyFrom(times.read(since, "changes-since"))
    if (before := request.last("changes-before")) is not None:
        wanted.changed_before.CopyFrom(times.read(before, "changes-before"))
        if since is not None and wanted.changed_since.ToNanoseconds() > wanted.changed_before.ToNanoseconds():
            raise Fault(400, "query.changes-since is later than query.changes-before.")
    limit = paging.limit_of(request)
    paged = any(field.name == "limit" and request.version in field.window for field in LIST_QUERY.fields)
    wanted.page_size = limit if paged else 0
    found = request.services.servers.ListServerActions(wanted).actions if limit or not paged else []
    shown = request.show_all(SUMMARY, found)
    if not paged:
        return {"instanceActions": shown}
    path = f"/servers/{server_id}/os-instance-actions"
    return paging.page(
        request, path, "instanceActions", shown, limit, paging.last_id(found, "request_id"), "links"
    )


@actions.get(
    PATH + "/{request_id}",
    "show",
    policy="os_compute_api:os-instance-actions:show",
    answer=Obj(Field("instanceAction", WHOLE, required=True)),
)
def show(request: Request) -> dict[str, Any]:
    """Show one thing that was done to a server, with its steps."""
    found = request.services.servers.GetServerAction(
        api.GetServerActionRequest(
            server_id=request.args["server_id"],
            request_id=request.args["request_id"],
            include_deleted=request.version in OF_DELETED,
        )
    )
    return {"instanceAction": request.show(WHOLE, found.action)}
