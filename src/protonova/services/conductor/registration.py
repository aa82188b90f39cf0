"""Makes this cell known to the api service, and keeps it known."""

from __future__ import annotations

import logging
import threading

from protonova.api.v1 import cell_pb2
from protonova.api.v1.cell_pb2_grpc import CellServiceStub
from protonova.services.runtime import context, errors

_log = logging.getLogger("protonova.conductor.registration")

_SOON = 1.0


class Registration:
    """Registers again and again: soon after a failure, else at the given interval, because the api database may
    have been restored from a time that did not know this cell."""

    def __init__(self, cells: CellServiceStub, interval: float) -> None:
        self._cells = cells
        self._interval = interval
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, cell: cell_pb2.Cell) -> None:
        self._thread = threading.Thread(target=self._run, args=(cell,), name="cell-registration", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, cell: cell_pb2.Cell) -> None:
        context.enter(context.internal("conductor"))
        known = False
        while not self._stopping.is_set():
            try:
                self._cells.RegisterCell(cell_pb2.RegisterCellRequest(cell=cell))
            except errors.Error as error:
                _log.info("The cell could not be registered yet: %s", error)
                self._stopping.wait(min(_SOON, self._interval))
                continue
            if not known:
                _log.info("Cell %s (%s) is registered", cell.name, cell.id)
                known = True
            self._stopping.wait(self._interval)
