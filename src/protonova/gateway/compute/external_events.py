"""What other services tell of servers.

History: 2.51 volume-extended; 2.76 power-update; 2.82 accelerator-request-bound; 2.93 volume-reimaged.
"""

from __future__ import annotations

from typing import Any

from protonova.api.v1 import server_device_pb2 as api
from protonova.common.v1 import server_device_pb2 as pb
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request, Response
from protonova.gateway.schema import INTEGER, STRING, UUID, Arr, Field, Obj, one_of, text

events = Resource("os-server-external-events")

_NAMES = ("network-changed", "network-vif-plugged", "network-vif-unplugged", "network-vif-deleted")
_NAMES_51 = (*_NAMES, "volume-extended")
_NAMES_76 = (*_NAMES_51, "power-update")
_NAMES_82 = (*_NAMES_76, "accelerator-request-bound")
_NAMES_93 = (*_NAMES_82, "volume-reimaged")
_STATUS = one_of("failed", "completed", "in-progress")

_WHAT = (
    Field("name", one_of(*_NAMES), until="2.50", required=True),
    Field("name", one_of(*_NAMES_51), versions="2.51-2.75", required=True),
    Field("name", one_of(*_NAMES_76), versions="2.76-2.81", required=True),
    Field("name", one_of(*_NAMES_82), versions="2.82-2.92", required=True),
    Field("name", one_of(*_NAMES_93), since="2.93", required=True),
    Field("server_uuid", UUID, required=True),
    Field("tag", text(most=255)),
)
EVENTS = Obj(Field("events", Arr(Obj(*_WHAT, Field("status", _STATUS)), minItems=1), required=True))
TAKEN = Obj(
    Field(
        "events",
        Arr(Obj(*_WHAT, Field("status", STRING, required=True), Field("code", INTEGER, required=True))),
        required=True,
    )
)

_CODES = {
    pb.SERVER_EVENT_RESULT_ACCEPTED: 200,
    pb.SERVER_EVENT_RESULT_TAG_INVALID: 400,
    pb.SERVER_EVENT_RESULT_SERVER_NOT_FOUND: 404,
    pb.SERVER_EVENT_RESULT_NO_HOST: 422,
}


@events.post(
    "/os-server-external-events",
    policy="os_compute_api:os-server-external-events:create",
    body=EVENTS,
    answer=TAKEN,
    also=(207,),
)
def create(request: Request) -> Response:
    """Tell what has happened to something of servers."""
    told = request.body["events"]
    asked = api.ReportServerEventsRequest(
        events=[
            pb.ServerEvent(
                name=event["name"],
                server_id=event["server_uuid"],
                status=event.get("status", "completed"),
                tag=event.get("tag", ""),
            )
            for event in told
        ]
    )
    results = request.services.devices.ReportServerEvents(asked).results
    shown: list[dict[str, Any]] = []
    for event, result in zip(told, results, strict=True):
        code = _CODES[result]
        status = event.get("status", "completed") if code == 200 else "failed"
        shown.append({**event, "status": status, "code": code})
    return Response({"events": shown}, code=200 if all(one["code"] == 200 for one in shown) else 207)
