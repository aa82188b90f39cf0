"""A built wheel carries everything a service needs, the generated contracts included."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Built from a copy: building generates code, which must not change under the tests beside this one."""
    copy = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("src", "protos", "tools"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*_pb2*"))
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (copy / "dist").glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_contracts_are_whole_packages(names: set[str]) -> None:
    for service in ("common", "api", "conductor", "scheduler", "placement", "compute"):
        assert {f"protonova/{service}/__init__.py", f"protonova/{service}/v1/__init__.py"} <= names
    assert "protonova/api/v1/server_pb2.py" in names
    assert "protonova/api/v1/server_pb2_grpc.py" in names


def test_every_module_and_schema_is_there(names: set[str]) -> None:
    source = ROOT / "src"
    ours = {str(p.relative_to(source)) for p in source.rglob("*.py") if "__pycache__" not in p.parts}
    assert ours <= names
    assert not [name for name in names if "__pycache__" in name]
