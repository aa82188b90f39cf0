"""The bootable disk of the tests, built once a checkout."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def guest_image() -> Path:
    path = ROOT / ".state" / "test-image" / "protonova-tiny.qcow2"
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run([ROOT / "tools" / "make-image.sh", path], check=True)
    return path
