"""Consoles of servers, and where their tokens lead.

History: 2.6 one operation for all types; 2.8 MKS; 2.31 tokens of all types can be looked up; 2.99 spice-direct and
the TLS port.
"""

from __future__ import annotations

from typing import Any

from protonova.api.v1 import console_pb2 as api
from protonova.gateway.compute.server_actions import PATH
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import (
    ANY,
    INTEGER,
    INTEGER_OR_NULL,
    STRING_OR_NULL,
    URI,
    UUID,
    Field,
    Obj,
    View,
    one_of,
)
from protonova.gateway.validation import Query
from protonova.gateway.versions import Window

RULE = "os_compute_api:os-remote-consoles"
LAST = "2.5"
LOOKED_UP = Window.parse("2.31-")

consoles = Resource("servers.consoles")

_PROTOCOLS = ("vnc", "spice", "serial", "rdp")
_TYPES = ("novnc", "xvpvnc", "spice-html5", "serial", "rdp-html5")
_TYPES_8 = (*_TYPES, "webmks")
_FIELDS = (
    Field("protocol", one_of(*_PROTOCOLS), until="2.7", required=True),
    Field("protocol", one_of(*_PROTOCOLS, "mks"), since="2.8", required=True),
    Field("type", one_of(*_TYPES), until="2.7", required=True),
    Field("type", one_of(*_TYPES_8), versions="2.8-2.98", required=True),
    Field("type", one_of(*_TYPES_8, "spice-direct"), since="2.99", required=True),
)
REMOTE = Obj(Field("remote_console", Obj(*_FIELDS), required=True))
REMOTE_SHOWN = Obj(Field("remote_console", Obj(*_FIELDS, Field("url", URI, required=True)), required=True))


def _url(request: Request, protocol: str, type_: str) -> str:
    asked = api.CreateConsoleRequest(server_id=request.args["server_id"], protocol=protocol, type=type_)
    return request.services.consoles.CreateConsole(asked).url


@consoles.post(
    "/servers/{server_id}/remote-consoles", since="2.6", policy=RULE, body=REMOTE, answer=REMOTE_SHOWN
)
def create(request: Request) -> dict[str, Any]:
    """Get access to a server's console."""
    wanted = request.body["remote_console"]
    url = _url(request, wanted["protocol"], wanted["type"])
    return {"remote_console": {"protocol": wanted["protocol"], "type": wanted["type"], "url": url}}


def _old(action: str, protocol: str, *types: str) -> None:
    """One of the actions there were for each protocol."""
    kind = Field("type", one_of(*types), required=True)
    shown = Obj(Field("console", Obj(kind, Field("url", URI, required=True)), required=True))

    @consoles.action(
        PATH,
        action,
        until=LAST,
        policy=RULE,
        body=Obj(Field(action, Obj(kind), required=True)),
        answer=shown,
    )
    def get(request: Request) -> dict[str, Any]:
        """Get access to a server's console."""
        wanted = request.body[action]["type"]
        return {"console": {"type": wanted, "url": _url(request, protocol, wanted)}}


_old("os-getVNCConsole", "vnc", "novnc", "xvpvnc")
_old("os-getSPICEConsole", "spice", "spice-html5")
_old("os-getSerialConsole", "serial", "serial")


@consoles.action(PATH, "os-getRDPConsole", until=LAST, body=Obj(Field("os-getRDPConsole", ANY)), status=400)
def rdp(_: Request) -> None:
    """Say that no server has an RDP console any more."""
    raise Fault(400, "Consoles of type 'rdp-html5' are not available.")


CONNECTION = View(
    Field("instance_uuid", UUID, lambda c, _: c.server_id, required=True),
    Field("host", STRING_OR_NULL, lambda c, _: c.host or None, required=True),
    Field("port", INTEGER, lambda c, _: c.port, required=True),
    Field("tls_port", INTEGER_OR_NULL, lambda c, _: c.tls_port or None, since="2.99"),
    Field("internal_access_path", STRING_OR_NULL, lambda c, _: c.internal_access_path or None, required=True),
)


@consoles.get(
    "/os-console-auth-tokens/{console_token}",
    "show_token",
    policy="os_compute_api:os-console-auth-tokens",
    query=Query(strict="2.99"),
    answer=Obj(Field("console", CONNECTION, required=True)),
)
def show_token(request: Request) -> dict[str, Any]:
    """See where a console token leads."""
    if request.version not in LOOKED_UP:
        raise Fault(400, "Only tokens of RDP consoles could be looked up before 2.31, and there are none.")
    asked = api.GetConsoleTokenRequest(token=request.args["console_token"])
    return {"console": request.show(CONNECTION, request.services.consoles.GetConsoleToken(asked))}
