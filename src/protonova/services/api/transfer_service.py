"""TransferService: what the conductors of two cells say to each other about a server that moves between them, and
which of them has it.

The mapping decides: the cell a server goes to shows it before it is switched, the cell it leaves shows it until
after.
"""

from __future__ import annotations

import grpc

from protonova.api.v1 import transfer_pb2 as pb
from protonova.api.v1 import transfer_pb2_grpc
from protonova.conductor.v1 import transfer_pb2
from protonova.services.api import mappings
from protonova.services.api.cells import Cells
from protonova.services.runtime import errors
from protonova.services.runtime.database import Database

_SERVICE = transfer_pb2.DESCRIPTOR.services_by_name["TransferService"]


class TransferService(transfer_pb2_grpc.TransferServiceServicer):
    def __init__(self, db: Database, cells: Cells) -> None:
        self._db = db
        self._cells = cells

    def CarryTransfer(
        self, request: pb.CarryTransferRequest, context: grpc.ServicerContext
    ) -> pb.CarryTransferResponse:
        if request.method not in _SERVICE.methods_by_name:
            raise errors.InvalidArgument(
                f"Conductors have no call '{request.method}' for moves between cells.",
                reason="METHOD_UNKNOWN",
                field="method",
            )
        path = f"/{_SERVICE.full_name}/{request.method}"
        answer = self._cells.conductor(request.cell_id).raw(path, request.request)
        return pb.CarryTransferResponse(response=answer)

    def SwitchServerCell(
        self, request: pb.SwitchServerCellRequest, context: grpc.ServicerContext
    ) -> pb.SwitchServerCellResponse:
        self._db.write(
            lambda connection: mappings.switch(
                connection, request.server_id, request.from_cell_id, request.to_cell_id
            )
        )
        return pb.SwitchServerCellResponse()
