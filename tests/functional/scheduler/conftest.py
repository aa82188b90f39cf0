"""A scheduler over a real placement and cells that are told by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.functional.scheduler.region import Region


@pytest.fixture
def new_region(tmp_path: Path) -> Iterator[Callable[..., Region]]:
    started: list[Region] = []

    def start(**options: Any) -> Region:
        started.append(Region(f"sqlite:///{tmp_path}/placement{len(started)}.sqlite", **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def region(new_region: Callable[..., Region]) -> Region:
    return new_region()
