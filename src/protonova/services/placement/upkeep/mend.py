"""What a mend is, and how it is run to its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from sqlalchemy.engine import Connection

from protonova.services.runtime.database import Database

Key = TypeVar("Key")

_BATCH = 200


class Mend(Protocol[Key]):
    """One kind of contradiction. `name` is a word for programs, `text` says to people what is found."""

    name: str
    text: str

    def find(self, connection: Connection, limit: int) -> Sequence[Key]:
        """Keys of at most so many rows that are wrong, in a fixed order."""

    def mend(self, connection: Connection, keys: Sequence[Key]) -> int:
        """Looks at these rows again, locked, and sets them right; how many were still wrong."""

    def describe(self, key: Key) -> str:
        """A row, for people."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction came to: descriptions of the rows found, and how many of them were mended."""

    found: tuple[str, ...]
    done: int


def run(db: Database, mend: Mend[Key], most: int | None = None) -> Iterator[Batch]:
    """Mends until nothing is found any more, or `most` rows were. A row that others set right, or that went,
    between being found and being locked counts as found and not as done."""
    before: Sequence[Key] = ()
    left = most
    while left is None or left > 0:
        size = _BATCH if left is None else min(_BATCH, left)
        keys = db.read(lambda connection, size=size: mend.find(connection, size))  # type: ignore[misc]
        if not keys or keys == before:
            return
        done = db.write(lambda connection, keys=keys: mend.mend(connection, keys))  # type: ignore[misc]
        yield Batch(tuple(map(mend.describe, keys)), done)
        # Found again though nothing could be done about it: it would be found for ever.
        before = keys if not done else ()
        left = None if left is None else left - len(keys)


def left(db: Database, mend: Mend[Key]) -> bool:
    """Whether there is anything to be mended."""
    return bool(db.read(lambda connection: mend.find(connection, 1)))
