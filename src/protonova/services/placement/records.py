"""A resource provider as memory holds it: one immutable record with everything that candidates depend on.

The database owns the facts. Records are what the feed of providers carries, what the index is made of and what
answers are built from; a changed provider is a new record. `incarnation` (the row's number) and `version` (raised
by every change of the row or of anything that hangs on it) order the records of one provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

MAX_INTEGER = 2_147_483_647
MAX_RATIO = 3.40282e38
MAX_CAPACITY = 2**62
SHARING_TRAIT = "MISC_SHARES_VIA_AGGREGATE"


@dataclass(frozen=True, slots=True)
class Inventory:
    """How much of one class a provider has, and in which portions it gives it."""

    total: int
    reserved: int = 0
    min_unit: int = 1
    max_unit: int = MAX_INTEGER
    step_size: int = 1
    allocation_ratio: float = 1.0
    # What may be used of it.
    capacity: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # In this order a ratio that is no number, which is refused elsewhere, does no harm here.
        usable = min(MAX_CAPACITY, (self.total - self.reserved) * self.allocation_ratio)
        object.__setattr__(self, "capacity", int(max(-MAX_CAPACITY, usable)))

    def room(self, used: int) -> int:
        """The largest amount that all allocations of one claim may add up to while so much is used."""
        return max(min(self.max_unit, self.capacity - used), -1)

    def portions(self, amount: int) -> bool:
        """Whether one allocation may be of this amount, whatever is free."""
        return self.min_unit <= amount <= self.max_unit and amount % self.step_size == 0


@dataclass(frozen=True, slots=True)
class ProviderRecord:
    """`root` is the provider's own id at the root; `parent` is empty there."""

    id: str
    name: str
    generation: int
    incarnation: int
    version: int
    root: str
    parent: str = ""
    updated_at: int = 0
    inventories: Mapping[str, Inventory] = field(default_factory=dict)
    used: Mapping[str, int] = field(default_factory=dict)
    traits: frozenset[str] = frozenset()
    aggregates: frozenset[str] = frozenset()

    @property
    def order(self) -> tuple[int, int]:
        return self.incarnation, self.version

    @property
    def is_root(self) -> bool:
        return not self.parent

    @property
    def shares(self) -> bool:
        """Whether it serves other trees that have a provider in one of its aggregates."""
        return SHARING_TRAIT in self.traits and bool(self.aggregates)

    def fits(self, resource_class: str, amount: int) -> bool:
        """Whether one allocation of this amount has room here now."""
        inventory = self.inventories.get(resource_class)
        return (
            inventory is not None
            and inventory.portions(amount)
            and self.used.get(resource_class, 0) + amount <= inventory.capacity
        )

    def with_usage(self, used: Mapping[str, int], version: int, generation: int) -> ProviderRecord:
        """The same provider after its usage of some classes became something else."""
        return replace(self, used={**self.used, **used}, version=version, generation=generation)
