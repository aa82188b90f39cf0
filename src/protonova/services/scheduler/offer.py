"""What placement offers for a request, and the ways it makes for a server to be on a host.

Most hosts serve a request alone and give the same amounts as all the others of their kind. Those are no more than
a list of ids until one of them is chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from protonova.placement.v1 import allocation_pb2 as pb
from protonova.services.runtime.packed_ids import PackedIds
from protonova.services.scheduler.hosts import NONE
from protonova.services.scheduler.table import Rows

Allocations = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Offer:
    """Ways in the order of placement's answer: first those of the roots `alone`, each of which gives `amounts` by
    itself, then those of `trees`. A root may be named several times."""

    alone: Sequence[str]
    amounts: Mapping[str, int] = field(default_factory=lambda: NONE)
    trees: Sequence[pb.Candidate] = ()

    @classmethod
    def of(cls, answer: pb.ListAllocationCandidatesResponse) -> Offer:
        """Of an answer in tables, or candidate by candidate."""
        packed = answer.alone.packed_ids
        alone = PackedIds(packed) if packed else list(answer.alone.provider_ids)
        # Each message is looked up in its list once; a later look would make it anew.
        return cls(alone, dict(answer.alone.resources.amounts), list(answer.candidates))

    @cached_property
    def tree_ids(self) -> Sequence[str]:
        return [tree.root_id for tree in self.trees]

    def root_ids(self) -> Iterator[str]:
        return chain(self.alone, self.tree_ids)

    def __len__(self) -> int:
        return len(self.alone) + len(self.trees)

    def __getitem__(self, place: int) -> Allocations:
        if place < len(self.alone):
            return {self.alone[place]: self.amounts}
        return Way(self.trees[place - len(self.alone)])


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
