"""A cloud of stand-ins for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from protonova.cli import launch
from tests.functional.cli.clouds import HERE, Cloud


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    source = HERE.parents[2] / "src"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(source), str(HERE)]))
    made = Cloud(tmp_path / "cloud")
    yield made
    launch.stop(made.state)
