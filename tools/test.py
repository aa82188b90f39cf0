"""Runs every check and test of the repository: what ``make test`` does.

Servers that tests need are looked for, and as root on Debian installed and started (see ``test_servers.py``). What
cannot be run is listed; with ``CI=true`` leaving anything out is a failure. ``--only NAME`` runs a part.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
LEFT_OUT = 3


@dataclass(frozen=True)
class Check:
    name: str
    command: list[str]
    # Exit status 3 says that the check could not be run here.
    may_be_left_out: bool = False


def checks(pytest_words: list[str]) -> list[Check]:
    python = sys.executable
    return [
        Check("ruff", [str(BIN / "ruff"), "check", "."]),
        Check("format", [str(BIN / "ruff"), "format", "--check", "."]),
        Check("mypy", [str(BIN / "mypy"), *_TYPED]),
        Check("imports", [str(BIN / "lint-imports"), "--no-cache"]),
        Check("contracts", [python, "tools/descriptor.py", "--check"]),
        Check("buf lint", ["tools/buf.sh", "lint"], may_be_left_out=True),
        Check("buf breaking", ["tools/buf.sh", "breaking", "--against", _released()], may_be_left_out=True),
        Check("coverage erase", [python, "-m", "coverage", "erase"]),
        Check("pytest", [python, "-m", "pytest", *_WORKERS, *_COVERAGE, *pytest_words]),
    ]


_TYPED = [f"src/protonova/{room}" for room in ("services", "cli", "companions")]
# The tests of a file stay together, and files come in the order they are collected in.
_WORKERS = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
_COVERAGE = ["--cov=protonova", "--cov-report=term:skip-covered", "--cov-report=xml", "--cov-report=html"]


def _released() -> str:
    """The descriptor as it was committed last; the working copy's where there is no history."""
    show = ["git", "show", "HEAD:protos/descriptor.txtpb"]
    found = subprocess.run(show, cwd=ROOT, capture_output=True, check=False)
    if found.returncode != 0:
        return "protos/descriptor.txtpb"
    kept = ROOT / "build" / "released.txtpb"
    kept.parent.mkdir(exist_ok=True)
    kept.write_bytes(found.stdout)
    return str(kept)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make test", description=__doc__)
    parser.add_argument("--only", action="append", help="names of checks to run")
    parser.add_argument("--no-servers", action="store_true", help="look for servers, but start none")
    parser.add_argument("pytest", nargs="*", help="words for pytest")
    words = parser.parse_args()
    chosen = [check for check in checks(words.pytest) if not words.only or check.name in words.only]
    environment = dict(os.environ)
    if any(check.name == "pytest" for check in chosen):
        environment |= _servers(install=not words.no_servers)
    left_out_report = ROOT / "build" / "left-out.txt"
    left_out_report.parent.mkdir(exist_ok=True)
    left_out_report.unlink(missing_ok=True)
    environment["PROTONOVA_LEFT_OUT_REPORT"] = str(left_out_report)
    failed, left_out = [], []
    for check in chosen:
        status = _run(check, environment)
        if check.may_be_left_out and status == LEFT_OUT:
            left_out.append(f"{check.name}: not installed")
        elif status != 0:
            failed.append(check.name)
    if left_out_report.exists():
        left_out += sorted(set(left_out_report.read_text().splitlines()))
    return _verdict(failed, left_out)


def _servers(*, install: bool) -> dict[str, str]:
    sys.path.insert(0, str(ROOT / "tools"))
    import test_servers

    provide: Callable[..., dict[str, str]] = test_servers.provide
    return provide(install=install)


def _run(check: Check, environment: dict[str, str]) -> int:
    print(f"── {check.name}", flush=True)
    started = time.monotonic()
    status = subprocess.run(check.command, cwd=ROOT, env=environment, check=False).returncode
    print(
        f"── {check.name}: {'ok' if status == 0 else f'status {status}'}, {time.monotonic() - started:.1f} s"
    )
    return status


def _verdict(failed: list[str], left_out: list[str]) -> int:
    if left_out:
        print("\nLeft out:")
        for line in left_out:
            print(f"  {line}")
    strict = os.environ.get("CI", "").lower() in ("1", "true")
    if failed:
        print(f"\nFailed: {', '.join(failed)}")
    elif left_out and strict:
        print("\nWith CI=true nothing may be left out.")
    else:
        print("\nAll is well.")
    return 1 if failed or (left_out and strict) else 0


if __name__ == "__main__":
    sys.exit(main())
