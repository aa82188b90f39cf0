"""ConsoleService: who may look at a server's console is told where, and gets a token that leads there."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlencode

import grpc

from protonova.compute.v1 import console_pb2 as compute_pb
from protonova.conductor.v1 import console_pb2 as pb
from protonova.conductor.v1 import console_pb2_grpc
from protonova.services.conductor import actions
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import agent
from protonova.services.conductor.servers import console_tokens
from protonova.services.conductor.servers.console_tokens import Console
from protonova.services.runtime import context as contexts
from protonova.services.runtime import errors


@dataclass(frozen=True)
class _Type:
    """A type of console: the protocol it belongs to, and the options that say whether and where it is shown."""

    protocol: str
    kind: compute_pb.ConsoleKind.ValueType
    group: str
    base_url: str


_TYPES = {
    "novnc": _Type("vnc", compute_pb.CONSOLE_KIND_VNC, "vnc", "novncproxy_base_url"),
    "spice-html5": _Type("spice", compute_pb.CONSOLE_KIND_SPICE, "spice", "html5proxy_base_url"),
    "spice-direct": _Type("spice", compute_pb.CONSOLE_KIND_SPICE, "spice", "spice_direct_proxy_base_url"),
    "serial": _Type("serial", compute_pb.CONSOLE_KIND_SERIAL, "serial_console", "base_url"),
}


class ConsoleServicer(console_pb2_grpc.ConsoleServiceServicer):
    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def CreateConsole(
        self, request: pb.CreateConsoleRequest, context: grpc.ServicerContext
    ) -> pb.CreateConsoleResponse:
        cell = self._cell
        server = cell.db.read(lambda c: cell.servers.get(c, request.server_id))
        actions.check(actions.OPEN_CONSOLE, server, contexts.current())
        wanted = _TYPES.get(request.type)
        if wanted is None or wanted.protocol != request.protocol or not cell.conf[wanted.group].enabled:
            raise _unavailable(request.type)
        consoles = agent.consoles_on(cell, cell.host(server.host), server.host)
        asked = compute_pb.GetGuestConsoleRequest(host=server.host, server_id=server.id, kind=wanted.kind)
        try:
            with agent.calling(server.host):
                found = consoles.GetGuestConsole(asked)
        except errors.FailedPrecondition as error:
            if error.reason != "CONSOLE_TYPE_UNAVAILABLE":
                raise
            raise _unavailable(request.type) from error
        except errors.NotFound as error:
            raise errors.FailedPrecondition(
                f"Server {server.id} is not ready: it has no guest.",
                reason="HOST_NOT_READY",
                server_id=server.id,
            ) from error
        token = console_tokens.new_token()
        console = Console(server.id, request.type, server.host, found.host, found.port, found.tls_port)
        seconds = cell.conf.consoleauth.token_ttl
        cell.db.write(lambda c: console_tokens.keep(c, token, console, seconds))
        url = _url(cell.conf[wanted.group][wanted.base_url], request.type, token)
        return pb.CreateConsoleResponse(url=url)

    def GetConsoleToken(
        self, request: pb.GetConsoleTokenRequest, context: grpc.ServicerContext
    ) -> pb.GetConsoleTokenResponse:
        cell = self._cell
        found = cell.db.read(lambda c: console_tokens.find(c, request.token))
        if found is None or self._host_of(found.server_id) != found.guest_host:
            raise errors.NotFound(
                "The console token is unknown, or its time is over.", reason="CONSOLE_TOKEN_NOT_FOUND"
            )
        return pb.GetConsoleTokenResponse(
            server_id=found.server_id,
            type=found.type,
            host=found.host,
            port=found.port,
            tls_port=found.tls_port,
        )

    def _host_of(self, server_id: str) -> str:
        try:
            return self._cell.db.read(lambda c: self._cell.servers.get(c, server_id)).host
        except errors.NotFound:
            return ""


def _url(base: str, type_: str, token: str) -> str:
    """Where a console is shown. The page of noVNC wants the token within the path it connects to."""
    query = {"path": f"?token={token}"} if type_ == "novnc" else {"token": token}
    return f"{base}{'&' if '?' in base else '?'}{urlencode(query, quote_via=quote)}"


def _unavailable(type_: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(
        f"Consoles of type '{type_}' are not available.", reason="CONSOLE_TYPE_UNAVAILABLE", type=type_
    )
