"""The region's cells, as rows and as the directory this process works by.

A cell makes itself known through `CellService`; its id never changes, its target may. The directory is at most a
second old; a cell it does not know is looked up at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from protonova.api.v1.cell_pb2 import Cell
from protonova.services.api import tables
from protonova.services.api.conductors import Conductor, Conductors, unavailable
from protonova.services.runtime import feeds
from protonova.services.runtime.database import Database

_cells = tables.cells
_SECONDS = 1.0


class Cells:
    """Which cells there are, and the way to each."""

    def __init__(self, db: Database, conductors: Conductors) -> None:
        self._db = db
        self._conductors = conductors
        self._known: dict[str, Cell] = {}
        self._read_at = float("-inf")

    def all(self) -> list[Cell]:
        if time.monotonic() - self._read_at > _SECONDS:
            self.refresh()
        return list(self._known.values())

    def conductors(self) -> list[Conductor]:
        return [self._conductors.at(cell.id, cell.conductor_target) for cell in self.all()]

    def conductor(self, cell_id: str) -> Conductor:
        """Raises CELL_UNAVAILABLE for a cell nobody knows."""
        if time.monotonic() - self._read_at > _SECONDS or cell_id not in self._known:
            self.refresh()
        cell = self._known.get(cell_id)
        if cell is None:
            raise unavailable(cell_id)
        return self._conductors.at(cell.id, cell.conductor_target)

    def refresh(self) -> None:
        read_at = time.monotonic()
        cells = self._db.read(listing)
        self._known = {cell.id: cell for cell in cells}
        self._read_at = read_at


def listing(connection: Connection) -> list[Cell]:
    """All cells, by name."""
    return [_message(row) for row in connection.execute(select(_cells).order_by(_cells.c.name, _cells.c.id))]


def load(connection: Connection, keys: Iterable[str]) -> dict[str, Cell]:
    """For the feed."""
    rows = connection.execute(select(_cells).where(_cells.c.id.in_(list(keys))))
    return {row.id: _message(row) for row in rows}


def register(connection: Connection, cell: Cell, now: int) -> Cell:
    """Makes a cell known, or its new target; whether it is disabled stays as it was."""
    row = connection.execute(select(_cells).where(_cells.c.id == cell.id).with_for_update()).first()
    if row is None:
        values = {"name": cell.name, "conductor_target": cell.conductor_target, "disabled": cell.disabled}
        connection.execute(insert(_cells).values(id=cell.id, created_at=now, updated_at=now, **values))
    elif (row.name, row.conductor_target) != (cell.name, cell.conductor_target):
        connection.execute(
            update(_cells)
            .where(_cells.c.id == cell.id)
            .values(name=cell.name, conductor_target=cell.conductor_target, updated_at=now)
        )
    else:
        return _message(row)
    registered = load(connection, [cell.id])[cell.id]
    feeds.publish(connection, tables.CELLS_TOPIC, [cell.id])
    return registered


def _message(row: Row[Any, Any]) -> Cell:
    return Cell(id=row.id, name=row.name, conductor_target=row.conductor_target, disabled=row.disabled)
