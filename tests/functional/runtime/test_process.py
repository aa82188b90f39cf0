"""A service as a process: readiness, signals, an orderly end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from protonova.services.runtime import channel, config
from tests.support.journeys import Journeys

PATIENCE = 20.0
ROOT = Path(__file__).resolve().parents[3]


class Process:
    """A running replica; its log is read while it runs."""

    def __init__(self, world: Journeys, *args: str) -> None:
        reader, writer = os.pipe()
        self._popen = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.functional.runtime.replica", world.url),
                *(str(world.outside.path), *args),
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
                "PROTONOVA_READY_FD": str(writer),
            },
            pass_fds=[writer],
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(writer)
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        with os.fdopen(reader) as ready:
            self.notice = json.loads(ready.readline() or "null")

    def says(self, words: str) -> bool:
        with self._more:
            return self._more.wait_for(lambda: words in "".join(self.lines), timeout=PATIENCE)

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def ends(self) -> int:
        status = self._popen.wait(PATIENCE)
        self._reading.join(PATIENCE)
        return status

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait(PATIENCE)

    def _read(self) -> None:
        assert self._popen.stderr is not None
        for line in self._popen.stderr:
            with self._more:
                self.lines.append(line)
                self._more.notify_all()


@pytest.fixture
def start(journeys: Journeys) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def begin(*args: str) -> Process:
        started.append(Process(journeys, *args))
        return started[-1]

    yield begin
    for process in started:
        process.kill()


def test_it_tells_where_it_serves_and_ends_when_told(start: Callable[..., Process]) -> None:
    process = start()
    assert process.notice["name"] == "conductor"
    with channel.connect(config.load(), process.notice["address"]) as connection:
        assert connection.becomes_ready(PATIENCE)
    process.signal(signal.SIGTERM)
    assert process.ends() == 0
    assert process.says("conductor ends")


def test_it_reports_its_state_and_goes_on(start: Callable[..., Process]) -> None:
    process = start()
    process.signal(signal.SIGUSR1)
    assert process.says("-- thread MainThread")
    assert process.says("-- operations: test#")
    assert process.says("SQLAlchemy 2")
    process.signal(signal.SIGHUP)
    process.signal(signal.SIGINT)
    assert process.ends() == 0


def test_what_does_not_end_in_time_is_handed_back(journeys: Journeys, start: Callable[..., Process]) -> None:
    """An effect hangs in the process that is told to end; its lease would have run for a minute."""
    process = start("--config-file", _config(journeys, "graceful_shutdown_timeout = 0.2"))
    fifo = journeys.outside.path / "hold"
    os.mkfifo(fifo)
    owner = journeys.engine(journeys.db, poll_seconds=0.05)
    subject = str(uuid.uuid4())
    # The process takes the operation up, and stops in an effect that opens the pipe for reading.
    operation_id = journeys.leave(owner, subject, held=True)
    with open(fifo, "wb"):  # somebody reads: the effect is under way
        process.signal(signal.SIGTERM)
        assert process.ends() == 0
    owner.start()
    found = owner.wait(operation_id, PATIENCE)
    owner.stop()
    assert (found.state, found.generation) == ("done", 3)
    journeys.assert_done(operation_id)


def test_an_address_in_use_ends_it_with_words(start: Callable[..., Process], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code = (
            "import sys; from protonova.services.runtime import config, process;"
            "sys.exit(process.run('conductor', config.load(), lambda conf, server: None,"
            f" listen='127.0.0.1:{port}'))"
        )
        ended = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr


def _config(journeys: Journeys, *lines: str) -> str:
    path = journeys.outside.path.parent / "protonova.conf"
    path.write_text("\n".join(["[DEFAULT]", *lines, ""]))
    return str(path)
