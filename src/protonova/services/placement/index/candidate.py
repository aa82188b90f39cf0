"""What a search yields: who would serve which group, and what that adds up to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
