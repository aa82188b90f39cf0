"""Kills processes of a cloud with SIGKILL at random moments, and keeps the count."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter

from benchmarks.cloud import Cloud


class Killer:
    """A thread that ends after so many kills. Every process that serves is as likely to die as any other."""

    def __init__(self, cloud: Cloud, *, kills: int, seed: int, pause: tuple[float, float]) -> None:
        self._cloud = cloud
        self._kills = kills
        self._random = random.Random(seed)
        self._pause = pause
        self._stop = threading.Event()
        self.killed: Counter[str] = Counter()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        """Waits until all are killed that were to be."""
        self._thread.join()
        if self.failure:
            raise self.failure

    def _run(self) -> None:
        try:
            while self.killed.total() < self._kills:
                self._stop.wait(self._random.uniform(*self._pause))
                self._kill_one()
        except BaseException as error:  # noqa: BLE001 - raised by `finish`
            self.failure = error

    def _kill_one(self) -> None:
        alive = [process for process in self._cloud.supervised() if process["pid"]]
        # Shuffled rounds: each process gets its turn before any has two.
        least = min(self.killed[process["name"]] for process in alive)
        victim = self._random.choice([p for p in alive if self.killed[p["name"]] == least])
        try:
            os.kill(victim["pid"], signal.SIGKILL)
        except ProcessLookupError:
            return
        self.killed[victim["name"]] += 1
