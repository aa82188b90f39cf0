"""Filters and weighers of other packages: one is installed, and a scheduler works with it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from protonova.services.runtime import config, errors
from protonova.services.scheduler import filters, weighers
from tests.functional.scheduler.region import SIZES

EXAMPLE = Path(__file__).parents[3] / "examples" / "scheduler_plugin"
FILTERS = ["ComputeFilter", "RackFilter"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip put the example."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    subprocess.run(["cp", "-r", f"{EXAMPLE}/.", source], check=True)
    words = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *words, "--target", target, source], check=True)
    return target


@pytest.fixture
def example(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(installed))
    yield
    sys.modules.pop("scheduler_example", None)


@pytest.mark.usefixtures("example")
def test_an_installed_filter_and_weigher_are_used(new_region):
    region = new_region(filter_scheduler={"enabled_filters": FILTERS, "weighers": ["ArchiveWeigher"]})
    region.host("r1-disk", SIZES, vcpus=2, local_gb=900)
    region.host("r1-core", SIZES, vcpus=64, local_gb=900)
    region.host("r2-both", SIZES, vcpus=4, local_gb=900)
    assert region.hosts_of() == ["r1-disk"]
    assert region.hosts_of(hints={"rack": "r2"}) == ["r2-both"]
    (selection,) = region.select(hints={"rack": "r3"})
    assert "RackFilter left none" in selection.failure


@pytest.mark.usefixtures("example")
def test_they_do_nothing_unless_they_are_named():
    conf = config.load(files=[])
    assert "RackFilter" not in [each.name for each in filters.load(conf)]
    assert "ArchiveWeigher" not in [each.name for each in weighers.load(conf)]
    conf = config.load(files=[], filter_scheduler={"weighers": ["all", "ArchiveWeigher"]})
    assert [each.name for each in weighers.load(conf)] == [*weighers.AVAILABLE, "ArchiveWeigher"]


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("class RackFilter: pass", "PLUGIN_INVALID"),
        ("import nothing_such", "PLUGIN_INVALID"),
        ("RackFilter = 1", "PLUGIN_INVALID"),
        (None, "FILTER_UNKNOWN"),
    ],
)
def test_one_that_does_not_work_is_named(tmp_path, monkeypatch, module, reason):
    if module is not None:
        (tmp_path / "broken_plugin.py").write_text(module)
        about = tmp_path / "broken-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
        entry = "[protonova.scheduler.filters]\nRackFilter = broken_plugin:RackFilter\n"
        (about / "entry_points.txt").write_text(entry)
    monkeypatch.syspath_prepend(str(tmp_path))
    conf = config.load(files=[], filter_scheduler__enabled_filters=["RackFilter"])
    with pytest.raises(errors.InvalidArgument, match="RackFilter") as refused:
        filters.load(conf)
    sys.modules.pop("broken_plugin", None)
    assert refused.value.reason == reason
