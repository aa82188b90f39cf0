"""What a search yields: who would serve which group, and what that adds up to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

Allocations = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """`allocations` are amounts by class by provider; `mappings` name the providers of each group's suffix."""

    root: str
    allocations: Allocations
    mappings: Mapping[str, tuple[str, ...]]

    def key(self) -> tuple[object, ...]:
        """Equal for candidates that a caller could not tell apart."""
        return (
            frozenset(
                (provider, name, amount)
                for provider, amounts in self.allocations.items()
                for name, amount in amounts.items()
            ),
            frozenset(self.mappings.items()),
        )


@dataclass(frozen=True, slots=True)
class LoneProviders:
    """Providers each of which serves all groups alone, and what each gives: they differ in nothing else."""

    ids: Sequence[str]
    amounts: Mapping[str, int]
    suffixes: Sequence[str]

    def __iter__(self) -> Iterator[Candidate]:
        for provider in self.ids:
            yield Candidate(provider, {provider: self.amounts}, dict.fromkeys(self.suffixes, (provider,)))


@dataclass(frozen=True, slots=True)
class Answer:
    """All that a search found. `incomplete` = it was given up before it had seen everything."""

    alone: LoneProviders
    trees: Sequence[Candidate] = field(default=())
    incomplete: bool = False

    def __len__(self) -> int:
        return len(self.alone.ids) + len(self.trees)

    def __iter__(self) -> Iterator[Candidate]:
        return chain(self.alone, self.trees)
