"""The ConsoleService: where the hypervisor shows a guest's consoles."""

from __future__ import annotations

import grpc

from protonova.compute.v1 import console_pb2 as pb
from protonova.compute.v1 import console_pb2_grpc
from protonova.services.compute.hosts import Hosts
from protonova.services.compute.steps import translated
from protonova.services.compute.virt.driver import ConsoleKind
from protonova.services.runtime import errors

_KINDS = {
    pb.CONSOLE_KIND_VNC: ConsoleKind.VNC,
    pb.CONSOLE_KIND_SPICE: ConsoleKind.SPICE,
    pb.CONSOLE_KIND_SERIAL: ConsoleKind.SERIAL,
}


class ConsoleServicer(console_pb2_grpc.ConsoleServiceServicer):
    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts

    def GetGuestConsole(
        self, request: pb.GetGuestConsoleRequest, context: grpc.ServicerContext
    ) -> pb.GetGuestConsoleResponse:
        driver = self._hosts.get(request.host).driver
        kind = _KINDS.get(request.kind)
        if kind is None:
            raise errors.InvalidArgument("No kind of console is named.", reason="CONSOLE_TYPE_UNAVAILABLE")
        with translated(request.server_id):
            found = driver.console(request.server_id, kind)
        return pb.GetGuestConsoleResponse(host=found.host, port=found.port, tls_port=found.tls_port)
