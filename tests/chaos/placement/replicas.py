"""Replicas of placement as processes on one database, and who kills them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.cloud import free_ports
from protonova.services.runtime import config

_CODE = "import sys; from protonova.services.placement.main import main; sys.exit(main([]))"


class Replica:
    """One process, which comes back at the same address."""

    def __init__(self, database_url: str, log: Path, port: int) -> None:
        self._url = database_url
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
                [sys.executable, "-c", _CODE],
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(sys.path),
                    "PROTONOVA_READY_FD": str(writer),
                    "OS_PLACEMENT_DATABASE__CONNECTION": self._url,
                    "OS_PLACEMENT__LISTEN": self.address,
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
def replicas(database_url: str, directory: Path, count: int) -> Iterator[list[Replica]]:
    with ExitStack() as stack:
        # Not of those that the system hands out: nobody else is to have one while its replica is away.
        base = free_ports(count)
        made = [
            Replica(database_url, directory / f"replica-{number}.log", base + number)
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


def client_options(*made: Replica) -> config.Conf:
    """Of callers that are patient: a slow machine is no failure."""
    target = ",".join(replica.address for replica in made)
    return config.load(files=[], placement__target=target, grpc__deadline_seconds=600)


class Killer:
    """Kills a replica by chance whenever so much more of the work is done, and starts it again.

    Whoever else was killed before may still be on its way back: sometimes nobody is there.
    """

    def __init__(
        self, made: list[Replica], kills: int, progress: Callable[[], float], dice: random.Random
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
