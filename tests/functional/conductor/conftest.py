"""A cell for each test: a real conductor and its edges, on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.conductor import Conductor, Edges


@pytest.fixture
def edges(tmp_path: Path) -> Iterator[Edges]:
    edges = Edges(tmp_path)
    yield edges
    edges.close()


@pytest.fixture
def cell(tmp_path: Path, edges: Edges) -> Iterator[Conductor]:
    conductor = Conductor(tmp_path, edges)
    conductor.report("host1", "host2", "host3")
    yield conductor
    conductor.close()
