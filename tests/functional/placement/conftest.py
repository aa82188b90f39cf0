"""Placement processes in this one: real servers, real databases, callers over gRPC."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.databases import EVERY, fresh
from tests.support.placement import Placement


@pytest.fixture(scope="module", params=EVERY)
def placement(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Placement]:
    """One for all tests of a module, on each database: tests make providers of their own."""
    for url in fresh(request.param, tmp_path_factory.mktemp("placement")):
        started = Placement(url)
        yield started
        started.close()


@pytest.fixture(params=EVERY)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of the test's own."""
    yield from fresh(request.param, tmp_path)


@pytest.fixture
def replica(database_url: str) -> Iterator[Callable[..., Placement]]:
    """Starts replicas on that database."""
    started: list[Placement] = []

    def start(**options: Any) -> Placement:
        started.append(Placement(database_url, **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def sqlite_placement(tmp_path: Path) -> Iterator[Callable[..., Placement]]:
    """Starts one with options."""
    started: list[Placement] = []

    def start(**options: Any) -> Placement:
        started.append(Placement(f"sqlite:///{tmp_path}/{len(started)}.sqlite", **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def new_id() -> Callable[[], str]:
    return lambda: str(uuid.uuid4())
