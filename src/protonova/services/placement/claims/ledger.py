"""Decides on claims, on a page of rows in memory.

A page holds what a transaction has locked and read; claims are put to it one after another, each whole or not at
all, and see what the earlier ones took. Nothing is written here: what became of the page is written by others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from protonova.services.placement import refusals
from protonova.services.placement.claims.change import Check, Claim, ConsumerChange
from protonova.services.placement.records import Inventory

Holdings = Mapping[tuple[str, str], int]


@dataclass(slots=True)
class Line:
    """One class of one provider. `taken` is what the claims on this page changed about `used`."""

    number: int
    inventory: Inventory
    capacity: int
    used: int
    taken: int = 0


@dataclass(slots=True)
class ProviderEntry:
    """`raised` is by how much the public generation goes up."""

    id: str
    number: int
    generation: int
    version: int
    lines: dict[str, Line] = field(default_factory=dict)
    touched: bool = False
    raised: int = 0


@dataclass(slots=True)
class ConsumerEntry:
    """A consumer before (`was_…`) and after the claims. `number` None = not in the database yet, `held` empty =
    not any more."""

    id: str
    number: int | None = None
    was_generation: int = 0
    was_held: Holdings = field(default_factory=dict)
    generation: int = 0
    held: Holdings = field(default_factory=dict)
    project_id: str = ""
    user_id: str = ""
    type: str = ""
    changed: bool = False


@dataclass(slots=True)
class Page:
    """All rows that a set of claims concerns."""

    providers: dict[str, ProviderEntry] = field(default_factory=dict)
    consumers: dict[str, ConsumerEntry] = field(default_factory=dict)

    def enter(self, claim: Claim) -> None:
        """Takes a claim up. Raises, and leaves the page as it was: CONCURRENT_UPDATE, ALLOCATION_NOT_FOUND,
        PROVIDER_NOT_FOUND, ALLOCATION_INVALID, CAPACITY_EXCEEDED."""
        self._check_consumers(claim)
        taken = self._taken(claim)
        for (provider, name), amount in taken.items():
            line = self.providers[provider].lines[name]
            free = line.capacity - line.used - line.taken
            if amount > 0 and amount > free:
                raise refusals.capacity_exceeded(provider, name, amount, free)
        for (provider, name), amount in taken.items():
            self.providers[provider].lines[name].taken += amount
        for change in claim:
            self._settle(change)

    def _check_consumers(self, claim: Claim) -> None:
        for change in claim:
            consumer = self.consumers[change.consumer_id]
            if change.delete and not consumer.held:
                raise refusals.allocation_not_found(change.consumer_id)
            if change.check is Check.NEW and consumer.held:
                raise refusals.consumer_changed(change.consumer_id, "none", str(consumer.generation))
            if change.check is Check.EXACT and (
                not consumer.held or consumer.generation != change.generation
            ):
                found = str(consumer.generation) if consumer.held else "none"
                raise refusals.consumer_changed(change.consumer_id, str(change.generation), found)

    def _taken(self, claim: Claim) -> Counter[tuple[str, str]]:
        taken: Counter[tuple[str, str]] = Counter()
        for change in claim:
            for (provider, name), amount in change.wanted.items():
                self._check_portion(provider, name, amount)
                taken[provider, name] += amount
            for key, amount in self.consumers[change.consumer_id].held.items():
                taken[key] -= amount
        return taken

    def _check_portion(self, provider: str, name: str, amount: int) -> None:
        entry = self.providers.get(provider)
        if entry is None:
            raise refusals.provider_not_found(provider)
        line = entry.lines.get(name)
        if line is None:
            raise refusals.allocation_invalid(provider, name, "there is no such inventory")
        if not line.inventory.portions(amount):
            bounds = line.inventory
            raise refusals.allocation_invalid(
                provider,
                name,
                f"{amount} is not a multiple of {bounds.step_size} from {bounds.min_unit} to {bounds.max_unit}",
            )

    def _settle(self, change: ConsumerChange) -> None:
        consumer = self.consumers[change.consumer_id]
        if not change.wanted and not consumer.held:
            return
        for provider in {provider for provider, _ in (*consumer.held, *change.wanted)}:
            entry = self.providers[provider]
            entry.touched = True
            entry.raised += 0 if change.delete else 1
        # Who does not know of types leaves the one that somebody else gave.
        known_type = consumer.type if consumer.held else ""
        consumer.changed = True
        consumer.held = change.wanted
        consumer.generation += 1
        if not change.delete:
            consumer.project_id = change.project_id
            consumer.user_id = change.user_id
            consumer.type = change.type or known_type
