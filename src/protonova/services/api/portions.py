"""A page out of several cells, of which none has to send a whole one.

Each cell is asked for its likely portion of the page, all at once. A cell whose portion is used up before the page
is full is asked for the rest of it, from where it ended. As between two pages, a server that changed its place
meanwhile may come by twice; it is taken once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from protonova.common.v1.server_pb2 import Server
from protonova.conductor.v1 import server_pb2 as conductor_pb
from protonova.services.runtime import errors

# Pages up to this size are asked for whole: asking on would cost more than what it saves.
_SMALL = 100

Ask = Callable[[str, conductor_pb.ListServersRequest], Sequence[Server]]


def size_of(page_size: int, cells: int) -> int:
    """How many servers to ask each of some cells for: a quarter more than its fair part."""
    if cells <= 1 or page_size <= _SMALL:
        return page_size
    return min(page_size, page_size * 5 // (4 * cells) + 16)


class BrokenOffError(Exception):
    """A cell that had sent its portion does not answer any more."""

    def __init__(self, cell_id: str) -> None:
        super().__init__(f"cell {cell_id} does not answer any more")
        self.cell_id = cell_id


def of_cells(
    first: Mapping[str, Sequence[Server]], portion: int, question: conductor_pb.ListServersRequest, ask: Ask
) -> list[Iterator[Server]]:
    """The servers of each cell, in order, as many as the page that is asked for may need. `first` holds each cell's
    portion, and `ask` asks a cell for more. Iterating raises BrokenOffError."""
    return [_all(cell_id, portion, question, found, ask) for cell_id, found in first.items()]


def _all(
    cell_id: str,
    asked: int,
    question: conductor_pb.ListServersRequest,
    found: Sequence[Server],
    ask: Ask,
) -> Iterator[Server]:
    onward = conductor_pb.ListServersRequest()
    onward.CopyFrom(question)
    while True:
        yield from found
        if len(found) < asked:
            return
        # Whoever has so much of a page may have the rest of it.
        onward.page_size = asked = max(onward.page_size - len(found), asked)
        onward.after.CopyFrom(found[-1])
        try:
            found = ask(cell_id, onward)
        except errors.Unavailable as error:
            if error.reason != "CELL_UNAVAILABLE":
                raise
            raise BrokenOffError(cell_id) from error
