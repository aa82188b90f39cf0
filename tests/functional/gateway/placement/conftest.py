"""The Placement API over a real placement service: one for the tests of a module, emptied after each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.databases import fresh
from tests.support.placement_cloud import PlacementCloud


@pytest.fixture(scope="module")
def running_placement(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlacementCloud]:
    for url in fresh("sqlite", tmp_path_factory.mktemp("placement")):
        made = PlacementCloud(url)
        yield made
        made.close()


@pytest.fixture
def placement(running_placement: PlacementCloud) -> Iterator[PlacementCloud]:
    yield running_placement
    running_placement.empty()
