from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cloud import Cloud
from tests.support.placement_cloud import PlacementCloud


@pytest.fixture(scope="session")
def running_cloud() -> Iterator[Cloud]:
    made = Cloud()
    yield made
    made.close()


@pytest.fixture
def cloud(running_cloud: Cloud) -> Cloud:
    running_cloud.forget()
    return running_cloud


@pytest.fixture
def placement(tmp_path: Path) -> Iterator[PlacementCloud]:
    made = PlacementCloud(tmp_path)
    yield made
    made.close()
