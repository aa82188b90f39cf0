"""Replicas of a service as processes, and who kills them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.cloud import ports
from protonova.services.runtime import config

_CODE = "import sys; from protonova.services.{}.main import main; sys.exit(main([]))"


class Replica:
    """One process, which comes back at the same address. `settings` are options as the environment tells them."""

    def __init__(self, service: str, settings: Mapping[str, str], log: Path, port: int) -> None:
        self._service = service
        self._settings = settings
        self._log = log
        self.address = f"127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._reader = -1

    def start(self) -> None:
        """Returns when it serves."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        self._reader, writer = os.pipe()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _CODE.format(self._service)],
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(sys.path),
                    "PROTONOVA_READY_FD": str(writer),
                    f"OS_{self._service.upper()}__LISTEN": self.address,
                    **self._settings,
                    "OMP_NUM_THREADS": "1",
                    "OPENBLAS_NUM_THREADS": "1",
                },
                pass_fds=(writer,),
                stdout=log,
                stderr=log,
            )
        os.close(writer)

    def wait(self) -> None:
        with os.fdopen(self._reader) as pipe:
            told = pipe.readline()
        assert told, self._log.read_text()[-3000:]

    def end(self, number: int = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()


@contextmanager
def replicas(
    service: str, settings: Mapping[str, str], directory: Path, count: int
) -> Iterator[list[Replica]]:
    """So many on addresses of their own. The first one is there before the others come: it may have a database to
    make."""
    with ExitStack() as stack:
        # Not of those that the system hands out: nobody else is to have one while its replica is away.
        base = stack.enter_context(ports(count))
        made = [
            Replica(service, settings, directory / f"{service}-{number}.log", base + number)
            for number in range(count)
        ]
        for replica in made:
            stack.callback(replica.end)
        made[0].start()
        for replica in made[1:]:
            replica.launch()
        for replica in made[1:]:
            replica.wait()
        yield made


def target(made: Sequence[Replica]) -> str:
    """All of them, used in turn."""
    return ",".join(replica.address for replica in made)


def patient() -> config.Conf:
    """Options of callers to whom a slow machine is no failure."""
    return config.load(files=[], grpc__deadline_seconds=600)


class Killer:
    """Kills a replica by chance whenever so much more of the work is done, and starts it again.

    Whoever else was killed before may still be on its way back: sometimes nobody is there.
    """

    def __init__(
        self, made: Sequence[Replica], kills: int, progress: Callable[[], float], dice: random.Random
    ) -> None:
        self._replicas = made
        self._kills = kills
        self._progress = progress
        self._dice = dice
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]
        self._lock = threading.Lock()
        self._busy: set[Replica] = set()
        self.killed = 0

    def __enter__(self) -> Killer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def _run(self) -> None:
        try:
            while True:
                over = self._stop.wait(0.02)
                victim = self._next()
                if victim is not None:
                    victim.end()
                    victim.start()
                    with self._lock:
                        self._busy.discard(victim)
                elif over:
                    return
        except BaseException as error:  # noqa: BLE001 - raised when the work is over
            self._failures.append(error)

    def _next(self) -> Replica | None:
        with self._lock:
            if self.killed >= self._kills or self._progress() * (self._kills + 1) < self.killed + 1:
                return None
            victim = self._dice.choice([replica for replica in self._replicas if replica not in self._busy])
            self._busy.add(victim)
            self.killed += 1
            return victim
