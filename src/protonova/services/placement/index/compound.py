"""The search within one tree, with the providers of other trees that share with it.

Every group with a suffix falls to one provider; every class of the group without a suffix falls to one provider,
not necessarily the same. A walk assigns them one after another and gives up a branch as soon as a provider would
be over its capacity, a group would not be isolated or no provider is left. It is lazy: it goes no further than
its reader.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from protonova.services.placement.index.candidate import Candidate
from protonova.services.placement.index.index import TreeView
from protonova.services.placement.query import CandidateQuery, Group
from protonova.services.placement.records import ProviderRecord


@dataclass(frozen=True, slots=True)
class _Part:
    """Something that one provider serves: a whole group, or one class of the group without a suffix."""

    suffix: str
    resources: tuple[tuple[str, int], ...]
    options: tuple[ProviderRecord, ...]


class GivenUpError(Exception):
    """The search took more steps than it may."""


@dataclass(slots=True)
class Steps:
    """What all walks of a search may still do together: few groups make more combinations than a machine ends."""

    left: int

    def take(self, number: int) -> None:
        self.left -= number
        if self.left < 0:
            raise GivenUpError


def candidates(view: TreeView, query: CandidateQuery, steps: Steps) -> Iterator[Candidate]:
    """All candidates of a tree. Raises GivenUpError."""
    if not query.root.allow(view.root):
        return
    walk = _Walk(view, query, steps)
    if all(part.options for part in walk.parts):
        yield from walk.from_part(0)


class _Walk:
    """One walk over one tree."""

    def __init__(self, view: TreeView, query: CandidateQuery, steps: Steps) -> None:
        self._view = view
        self._query = query
        self._steps = steps
        self.parts: list[_Part] = []
        for group in query.groups:
            self.parts.extend(self._parts(group))
        # Few options first: dead ends show early.
        self.parts.sort(key=lambda part: len(part.options))
        self._chosen: list[ProviderRecord] = []
        self._load: Counter[tuple[str, str]] = Counter()

    def from_part(self, number: int) -> Iterator[Candidate]:
        if number == len(self.parts):
            self._steps.take(number)
            if (found := self._finished()) is not None:
                yield found
            return
        part = self.parts[number]
        for provider in part.options:
            self._steps.take(1)
            if not self._isolated(part, provider):
                continue
            for name, amount in part.resources:
                self._load[provider.id, name] += amount
            if self._has_room(part, provider):
                self._chosen.append(provider)
                yield from self.from_part(number + 1)
                self._chosen.pop()
            for name, amount in part.resources:
                self._load[provider.id, name] -= amount

    def _parts(self, group: Group) -> Iterator[_Part]:
        pool = self._pool(group)
        if group.suffix:
            allowed = [provider for provider in pool if group.conditions.allow(provider)]
            yield self._part(group.suffix, tuple(group.resources.items()), allowed)
            return
        allowed = [provider for provider in pool if self._may_join(group, provider)]
        for name, amount in group.resources.items():
            yield self._part("", ((name, amount),), allowed)

    def _pool(self, group: Group) -> list[ProviderRecord]:
        own = list(self._view.providers)
        if group.in_tree:
            return own if any(provider.id == group.in_tree for provider in own) else []
        return own + list(self._view.sharing) if group.resources else own

    def _part(self, suffix: str, resources: tuple[tuple[str, int], ...], pool: list[ProviderRecord]) -> _Part:
        options = (
            provider for provider in pool if all(provider.fits(name, amount) for name, amount in resources)
        )
        return _Part(suffix, resources, tuple(sorted(options, key=lambda provider: provider.incarnation)))

    def _may_join(self, group: Group, provider: ProviderRecord) -> bool:
        """Whether a provider may serve some of the group without a suffix. An aggregate on the root spans the
        tree; required traits are asked of all that serve together, at the end."""
        conditions = group.conditions
        if conditions.forbidden & provider.traits:
            return False
        spanning = self._view.root.aggregates if self._query.nested else frozenset[str]()
        if conditions.forbidden_aggregates & (provider.aggregates | spanning):
            return False
        return all(choice & provider.aggregates for choice in conditions.member_of) or (
            bool(spanning) and all(choice & spanning for choice in conditions.member_of)
        )

    def _isolated(self, part: _Part, provider: ProviderRecord) -> bool:
        if not self._query.isolate or not part.suffix:
            return True
        earlier = zip(self.parts, self._chosen, strict=False)
        return not any(other.suffix and taken.id == provider.id for other, taken in earlier)

    def _has_room(self, part: _Part, provider: ProviderRecord) -> bool:
        for name, _ in part.resources:
            inventory = provider.inventories[name]
            load = self._load[provider.id, name]
            if load > inventory.max_unit or provider.used.get(name, 0) + load > inventory.capacity:
                return False
        return True

    def _finished(self) -> Candidate | None:
        if not self._traits_are_met() or not self._subtrees_hold():
            return None
        allocations: dict[str, dict[str, int]] = {}
        mappings: dict[str, dict[str, None]] = {}
        for part, provider in zip(self.parts, self._chosen, strict=True):
            for name, amount in part.resources:
                amounts = allocations.setdefault(provider.id, {})
                amounts[name] = amounts.get(name, 0) + amount
            mappings.setdefault(part.suffix, {})[provider.id] = None
        return Candidate(
            self._view.root.id,
            allocations,
            {suffix: tuple(sorted(providers)) for suffix, providers in sorted(mappings.items())},
        )

    def _traits_are_met(self) -> bool:
        group = self._query.plain_group
        if group is None or not group.conditions.required:
            return True
        together: set[str] = set()
        for part, provider in zip(self.parts, self._chosen, strict=True):
            if not part.suffix:
                together |= provider.traits
        return all(choice & together for choice in group.conditions.required)

    def _subtrees_hold(self) -> bool:
        """One of the providers that serve the named groups is an ancestor of all others, or they are one."""
        for suffixes in self._query.same_subtree:
            serving = {
                provider.id: provider
                for part, provider in zip(self.parts, self._chosen, strict=True)
                if part.suffix in suffixes
            }
            if not any(all(map(self._below(top), serving.values())) for top in serving):
                return False
        return True

    def _below(self, top: str) -> Callable[[ProviderRecord], bool]:
        known = {provider.id: provider for provider in self._view.providers}

        def below(provider: ProviderRecord) -> bool:
            seen = 0
            current: ProviderRecord | None = provider
            while current is not None and seen <= len(known):
                if current.id == top:
                    return True
                current, seen = known.get(current.parent), seen + 1
            return False

        return below
