"""What the tests of the runtime stand on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from protonova.services.runtime.operations import Engine
from tests.support.journeys import Journeys


@pytest.fixture
def journeys(sqlite_url: str, tmp_path: Path) -> Iterator[Journeys]:
    """Where the kind of database does not matter."""
    world = Journeys(sqlite_url, tmp_path / "outside")
    yield world
    world.db.close()


@pytest.fixture
def engine(journeys: Journeys) -> Iterator[Engine]:
    engine = journeys.engine(journeys.db, lease_seconds=10)
    engine.start()
    yield engine
    engine.stop()
