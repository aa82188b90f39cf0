"""ConsoleService: consoles of servers of the whole region. A token does not say whose it is: each cell is asked."""

from __future__ import annotations

import grpc

from protonova.api.v1 import console_pb2 as pb
from protonova.api.v1 import console_pb2_grpc
from protonova.services.api.cells import Cells
from protonova.services.api.mappings import Mappings
from protonova.services.api.relay import Relay, carried
from protonova.services.runtime import errors

_GET = "/protonova.conductor.v1.ConsoleService/GetConsoleToken"


class ConsoleService(console_pb2_grpc.ConsoleServiceServicer):
    def __init__(self, cells: Cells, places: Mappings) -> None:
        self._cells = cells
        self.relay = Relay(cells, places)

    CreateConsole = carried("getConsole")

    def GetConsoleToken(
        self, request: pb.GetConsoleTokenRequest, context: grpc.ServicerContext
    ) -> pb.GetConsoleTokenResponse:
        """Raises CONSOLE_TOKEN_NOT_FOUND; CELL_UNAVAILABLE when a cell that is silent may know it."""
        silent: errors.Unavailable | None = None
        for conductor in self._cells.conductors():
            try:
                answer = conductor.raw(_GET, request.SerializeToString())
            except errors.NotFound:
                continue
            except errors.Unavailable as error:
                silent = error
                continue
            return pb.GetConsoleTokenResponse.FromString(answer)
        raise silent or errors.NotFound(
            "The console token is unknown, or its time is over.", reason="CONSOLE_TOKEN_NOT_FOUND"
        )
