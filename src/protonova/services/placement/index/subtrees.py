"""Whether the parts named by a `same_subtree` can still lie below, or be, one of those who serve them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from protonova.services.placement.index.index import TreeView
from protonova.services.placement.index.parts import Part, bits
from protonova.services.placement.records import ProviderRecord


class Subtrees:
    """Of one walk. `named` tells for each part by which sets of suffixes it is named, as bits."""

    def __init__(
        self,
        view: TreeView,
        seats: Sequence[ProviderRecord],
        parts: Sequence[Part],
        wanted: Iterable[frozenset[str]],
    ) -> None:
        self._sets = [
            [place for place, part in enumerate(parts) if part.suffix in suffixes] for suffixes in wanted
        ]
        self.named = [0] * len(parts)
        for number, places in enumerate(self._sets):
            for place in places:
                self.named[place] |= 1 << number
        self._parents = [seat.parent for seat in seats]
        if self._sets:
            self._above = _above(view, seats)
            self._under = [0] * len(seats)
            for seat, tops in enumerate(self._above):
                for top in bits(tops):
                    self._under[top] |= 1 << seat

    def possible(self, chosen: Sequence[int], alive: Sequence[int]) -> bool:
        """`chosen` seats of the first parts, `alive` ones of the others."""
        return all(self._one_above(places, chosen, alive) for places in self._sets)

    def place(self, seat: int) -> object:
        """Equal for seats that no subtree can tell apart."""
        if not self._sets:
            return None
        leaf = self._under[seat] == 1 << seat
        return (self._parents[seat],) if leaf and self._parents[seat] else seat

    def _one_above(self, places: Sequence[int], chosen: Sequence[int], alive: Sequence[int]) -> bool:
        serving = 0
        tops = -1
        to_come = []
        for place in places:
            if place < len(chosen):
                serving |= 1 << chosen[place]
                tops &= self._above[chosen[place]]
            else:
                to_come.append(alive[place])
        for options in to_come:
            serving |= options
        return any(all(options & self._under[top] for options in to_come) for top in bits(serving & tops))


def _above(view: TreeView, seats: Sequence[ProviderRecord]) -> list[int]:
    """For each seat those of itself and of all above it."""
    numbers = {provider.id: seat for seat, provider in enumerate(seats)}
    found = []
    for provider in seats:
        mask = 0
        line = set()
        current = provider.id
        while current and current not in line:
            line.add(current)
            if (seat := numbers.get(current)) is not None:
                mask |= 1 << seat
            current = view.parents.get(current, "")
        found.append(mask)
    return found
