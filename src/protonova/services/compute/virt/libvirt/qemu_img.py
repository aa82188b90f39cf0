"""The qemu-img program: always with explicit formats, bounded in memory and time."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from protonova.services.compute.virt import errors

_ADDRESS_SPACE = 2 << 30
_SECONDS = 1800


def run(*arguments: str | Path) -> str:
    """Output of one qemu-img command. The limits keep a hostile image from taking the host down."""
    command = ["qemu-img", *(str(argument) for argument in arguments)]
    if shutil.which("prlimit"):
        command = ["prlimit", f"--as={_ADDRESS_SPACE}", f"--cpu={_SECONDS}", *command]
    try:
        done = subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            env={"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin"},
        )
    except FileNotFoundError as error:
        raise errors.HostRefuses("qemu-img is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise errors.HostRefuses(f"qemu-img {arguments[0]} took longer than {_SECONDS} s") from error
    except subprocess.CalledProcessError as error:
        text = error.stderr.strip() or f"qemu-img {arguments[0]} failed ({error.returncode})"
        raise errors.HostRefuses(text) from error
    return done.stdout


def info(path: Path, image_format: str) -> dict[str, Any]:
    """Facts of an image that has passed inspection."""
    facts: dict[str, Any] = json.loads(run("info", "--output=json", "-U", "-f", image_format, path))
    return facts


def convert(source: Path, source_format: str, target: Path, target_format: str) -> None:
    run("convert", "-f", source_format, "-O", target_format, source, target)


def overlay(base: Path, base_format: str, target: Path, size: int) -> None:
    run("create", "-q", "-f", "qcow2", "-F", base_format, "-b", base, target, str(size))


def rebase(disk: Path, base: Path, base_format: str) -> None:
    """Has an overlay stand on another file of the same contents."""
    run("rebase", "-u", "-f", "qcow2", "-b", base, "-F", base_format, disk)


def resize(disk: Path, image_format: str, size: int) -> None:
    run("resize", "-q", "-f", image_format, disk, str(size))


def blank(target: Path, size: int) -> None:
    run("create", "-q", "-f", "qcow2", target, str(size))
