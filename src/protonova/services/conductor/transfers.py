"""What a conductor asks of another cell's, by way of the api service, for a server that moves between the two.

Cells do not call each other. The answers of long calls come in pieces: one that is not `done` is asked for again,
with the same key.
"""

from __future__ import annotations

import contextlib
from typing import Any

from google.protobuf import message_factory
from google.protobuf.message import Message

from protonova.api.v1 import transfer_pb2 as api_pb
from protonova.common.v1.migration_pb2 import Migration
from protonova.conductor.v1 import transfer_pb2 as pb
from protonova.services.conductor.cell import Cell
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Run

# Why the other cell keeps what it has.
IS_DELETED = "SERVER_IS_DELETED"
# Seconds one call may take: a little more than the other side waits.
_PATIENCE = 30.0


def key(run: Run, part: str) -> str:
    """The same in every repetition of a step, another one in another round, and for undoing it."""
    return f"{run.id}/{run.round}/{run.direction}/{part}"


def ask(cell: Cell, cell_id: str, method: str, request: Message) -> Any:
    """Raises CELL_UNAVAILABLE, and what the other conductor raises."""
    answer = cell.outside.transfers.CarryTransfer(
        api_pb.CarryTransferRequest(cell_id=cell_id, method=method, request=request.SerializeToString()),
        timeout=_PATIENCE,
    )
    kind = pb.DESCRIPTOR.message_types_by_name[f"{method}Response"]
    return message_factory.GetMessageClass(kind).FromString(answer.response)


def until_done(cell: Cell, run: Run, cell_id: str, method: str, request: Message) -> Any:
    """Raises what `ask` does, and what `Run.check` does."""
    while True:
        answer = ask(cell, cell_id, method, request)
        if answer.done:
            return answer
        run.check()


def withdraw(cell: Cell, run: Run, migration: Migration, part: str, *, by_force: bool = True) -> None:
    """Has the other cell of a move remove all it has of the server."""
    request = pb.WithdrawServerRequest(
        key=key(run, f"withdraw {part}"),
        server_id=migration.server_id,
        migration_id=migration.id,
        by_force=by_force,
    )
    until_done(cell, run, migration.other_cell_id, "WithdrawServer", request)


def switch(cell: Cell, server_id: str, from_cell_id: str, to_cell_id: str) -> None:
    """For everybody, the server is in that cell from now on. Raises SERVER_NOT_FOUND when it is deleted."""
    cell.outside.transfers.SwitchServerCell(
        api_pb.SwitchServerCellRequest(server_id=server_id, from_cell_id=from_cell_id, to_cell_id=to_cell_id)
    )


def take_back(cell: Cell, run: Run, migration: Migration, part: str) -> None:
    """The server is in this cell, whatever the other one was told, and that has nothing of it any more. Raises
    SERVER_IS_DELETED while that cell deletes it, in which everybody finds it meanwhile: the deletion will ask this
    cell for what it has."""
    # Nobody finds a deleted one in any cell.
    with contextlib.suppress(errors.NotFound):
        switch(cell, migration.server_id, migration.other_cell_id, cell.id)
    try:
        withdraw(cell, run, migration, part)
    except errors.Error as error:
        if error.reason == IS_DELETED:
            with contextlib.suppress(errors.NotFound):
                switch(cell, migration.server_id, cell.id, migration.other_cell_id)
        raise
