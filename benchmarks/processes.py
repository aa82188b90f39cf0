"""Services of this project as processes of their own: started, waited for, ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cloud import process_pss_mib
from protonova.cli.launch import ENVIRONMENT
from protonova.services.runtime.process import READY_FD

_START_SECONDS = 120
_ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Process:
    """One that has said it is ready; `seconds` is how long that took."""

    running: subprocess.Popen[bytes]
    address: str
    seconds: float

    @property
    def pss_mib(self) -> float:
        return process_pss_mib(self.running.pid)

    def end(self) -> None:
        self.running.terminate()
        self.running.wait(30)


def service(name: str) -> list[str]:
    """The words by which Python runs one of the services."""
    code = f"import sys; from protonova.services.{name}.main import main; sys.exit(main(sys.argv[1:]))"
    return ["-c", code]


def start(directory: Path, name: str, words: list[str], settings: Mapping[str, str]) -> Process:
    """Runs Python with these words; `settings` are options as the environment tells them. Its log is in the
    directory, under its name."""
    reader, writer = os.pipe()
    paths = [str(_ROOT), str(_ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        **ENVIRONMENT,
        **settings,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        READY_FD: str(writer),
    }
    began = time.monotonic()
    with open(directory / f"{name}.log", "ab") as log:
        running = subprocess.Popen(
            [sys.executable, *words], env=environment, stdout=log, stderr=log, pass_fds=[writer]
        )
    os.close(writer)
    with os.fdopen(reader) as pipe:
        line = pipe.readline()
    if not line:
        running.wait(_START_SECONDS)
        raise RuntimeError(f"{name} did not start:\n{(directory / f'{name}.log').read_text()[-3000:]}")
    return Process(running, json.loads(line)["address"], time.monotonic() - began)
