"""What placement offers for a request, and the ways it makes for a server to be on a host.

Most hosts serve a request alone and give the same amounts as all the others of their kind. Those are no more than
a list of ids until one of them is chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import numpy as np

from protonova.placement.v1 import allocation_pb2 as pb
from protonova.services.scheduler.hosts import NONE
from protonova.services.scheduler.table import Rows

Allocations = Mapping[str, Mapping[str, int]]

_ROOT_ID = attrgetter("root_id")


@dataclass(frozen=True, slots=True)
class Offer:
    """Ways in the order of placement's answer: each of the first `alone` roots gives `amounts` by itself, the
    others are those of `trees`. A root may be named several times."""

    root_ids: Sequence[str]
    alone: int = 0
    amounts: Mapping[str, int] = field(default_factory=lambda: NONE)
    trees: Sequence[pb.Candidate] = ()

    @classmethod
    def of(cls, answer: pb.ListAllocationCandidatesResponse) -> Offer:
        """Of an answer in tables, or candidate by candidate."""
        alone = list(answer.alone.provider_ids)
        # Each message is looked up in its list once; a later look would make it anew.
        trees = list(answer.candidates)
        return cls([*alone, *map(_ROOT_ID, trees)], len(alone), dict(answer.alone.resources.amounts), trees)

    def __len__(self) -> int:
        return len(self.root_ids)

    def __getitem__(self, place: int) -> Allocations:
        if place < self.alone:
            return {self.root_ids[place]: self.amounts}
        return Way(self.trees[place - self.alone])


class Ways(Sequence[Sequence[Allocations]]):
    """Of each row of a table, the ways to be on that host; looked up for those rows only that are asked for.
    `rows` says which row each way of an offer is of, -1 = none."""

    def __init__(self, offer: Offer, rows: Rows, count: int) -> None:
        self._offer = offer
        self._rows = rows
        self._count = count
        # Places in the offer by row; put in order when the first row is asked for.
        self._order: Rows | None = None
        self._sorted = rows
        self._found: dict[int, list[Allocations]] = {}

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: Any) -> Any:
        if row not in self._found:
            if self._order is None:
                self._order = np.argsort(self._rows, kind="stable")
                self._sorted = self._rows[self._order]
            first, end = np.searchsorted(self._sorted, (row, row + 1))
            self._found[row] = [self._offer[place] for place in self._order[first:end].tolist()]
        return self._found[row]


class Way(Mapping[str, Mapping[str, int]]):
    """A candidate's allocations; read from the message when first looked at, as most never are."""

    __slots__ = ("_found", "_message")

    def __init__(self, message: pb.Candidate) -> None:
        self._message = message
        self._found: dict[str, dict[str, int]] | None = None

    def _read(self) -> dict[str, dict[str, int]]:
        if self._found is None:
            providers = self._message.allocations.providers
            self._found = {provider: dict(resources.amounts) for provider, resources in providers.items()}
        return self._found

    def served_by(self, suffixes: Iterable[str]) -> tuple[str, ...]:
        """The provider of each of these groups."""
        mappings = self._message.mappings
        return tuple(provider for suffix in suffixes for provider in mappings[suffix].provider_ids)

    def __getitem__(self, provider: str) -> Mapping[str, int]:
        return self._read()[provider]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())
