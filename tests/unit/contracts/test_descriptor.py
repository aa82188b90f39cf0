"""The recorded descriptor shows every change of a contract, so it must never lag behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_recorded_descriptor_is_that_of_the_contracts() -> None:
    command = [sys.executable, "tools/descriptor.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
