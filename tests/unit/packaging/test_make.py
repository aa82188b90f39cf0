"""The Makefile's own ground: where a checkout may lie, and which virtual environment is used."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MAKE_VENV = str(ROOT / "tools" / "make-venv.sh")


def _run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_a_checkout_may_lie_in_a_path_with_a_space(tmp_path: Path) -> None:
    copy = tmp_path / "a checkout"
    copy.mkdir()
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    for name in ("tools", "protos"):
        shutil.copytree(ROOT / name, copy / name)
    done = _run("make", "-n", "up", "STATE_DIR=/a state/of it", cwd=copy)
    assert done.returncode == 0, done.stderr
    assert 'first-server.sh .venv/bin/protonova "/a state/of it"' in done.stdout


def test_an_environment_is_used_where_it_was_made_and_nowhere_else(tmp_path: Path) -> None:
    made, moved = tmp_path / "an environment", tmp_path / "elsewhere"
    done = _run(MAKE_VENV, sys.executable, str(made))
    assert done.returncode == 0, done.stderr
    assert _run(MAKE_VENV, "--usable", str(made)).returncode == 0
    made.rename(moved)
    assert _run(MAKE_VENV, "--usable", str(moved)).returncode == 1
    assert _run(MAKE_VENV, "--usable", str(made)).returncode == 1


def test_a_directory_that_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = _run(MAKE_VENV, sys.executable, str(tmp_path))
    assert done.returncode == 1
    assert "no virtual environment" in done.stderr
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
