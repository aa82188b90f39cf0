"""Many at once on a few replicas that keep being killed: what tests of it have in common."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

import grpc

from tests.chaos.placement.books import Books, Sampler
from tests.chaos.replicas import Killer, Replica

SEED = int(os.environ.get("CHAOS_SEED", random.randrange(1 << 30)))


class Storm:
    """`books` are the database's own word; `channels` lead to all replicas."""

    def __init__(self, made: Sequence[Replica], books: Books, channels: Sequence[grpc.Channel]) -> None:
        self._replicas = made
        self.books = books
        self.channels = channels
        self._done = Counter[int]()

    def did(self, number: int) -> None:
        """A worker tells that it did one more thing."""
        self._done[number] += 1

    def run(self, workers: Sequence[Callable[[], None]], *, things: int, kills: int) -> str:
        """Returns when all have done their work; together they do so many things. Answers the figures."""
        failures: list[BaseException] = []

        def work(worker: Callable[[], None]) -> None:
            try:
                worker()
            except BaseException as error:  # noqa: BLE001 - told to the test
                failures.append(error)

        threads = [threading.Thread(target=work, args=(worker,)) for worker in workers]
        started = time.monotonic()
        with (
            Sampler(self.books) as sampler,
            Killer(self._replicas, kills, lambda: self._done.total() / things, random.Random(SEED)) as killer,
        ):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        seconds = time.monotonic() - started
        assert not failures, failures[:3]
        assert sampler.wrong == []
        assert self.books.wrong() == {}
        assert killer.killed == kills
        return (
            f"{len(workers)} workers did {self._done.total()} things in {seconds:.1f} s "
            f"({self._done.total() / seconds:.0f}/s), {killer.killed} replicas killed, {sampler.looks} looks"
        )
