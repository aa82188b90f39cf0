"""A cell with three fake hosts behind a real agent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.conductor import Conductor
from tests.support.moving import HOSTS, Mover, MovingEdges


@pytest.fixture
def edges(tmp_path: Path) -> Iterator[MovingEdges]:
    edges = MovingEdges(tmp_path)
    yield edges
    edges.close()


@pytest.fixture
def options() -> dict[str, object]:
    """Of the cell; overridden where a test needs others."""
    return {}


@pytest.fixture
def cell(tmp_path: Path, edges: MovingEdges, options: dict[str, object]) -> Iterator[Conductor]:
    conductor = Conductor(tmp_path, edges, **{**edges.options, "shutdown_timeout": 1, **options})
    conductor.report(*HOSTS)
    yield conductor
    conductor.close()


@pytest.fixture
def mover(cell: Conductor) -> Iterator[Mover]:
    mover = Mover(cell)
    yield mover
    mover.close()
