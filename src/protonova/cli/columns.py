"""Rows as text in columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def aligned(rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """A line for each row, all columns as wide as their widest cell."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
