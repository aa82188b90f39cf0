"""A storm on replicas of placement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from protonova.services.runtime.channel import connect
from tests.chaos.placement.books import Books
from tests.chaos.replicas import patient, replicas, target
from tests.chaos.storm import SEED, Storm

REPLICAS = 3


@contextmanager
def storm(database_url: str, directory: Path, channels: int = 8) -> Iterator[Storm]:
    print(f"CHAOS_SEED={SEED} on {database_url.partition(':')[0]}")
    with ExitStack() as stack:
        settings = {"OS_PLACEMENT_DATABASE__CONNECTION": database_url}
        made = stack.enter_context(replicas("placement", settings, directory, REPLICAS))
        books = stack.enter_context(closing(Books(database_url)))
        opened = [connect(patient(), target(made)) for _ in range(channels)]
        for channel in opened:
            stack.enter_context(channel)
        yield Storm(made, books, opened)
