"""The search within one tree, with the providers of other trees that share with it.

A walk assigns the parts of a request to seats one after another. It gives up a branch as soon as a later part is
left without anybody who could serve it, and never goes twice into what is as good as a branch that led nowhere: it
remembers the states from which nothing was found, in a form in which providers that are alike are the same. It is
lazy and goes no further than its reader; when it has worked for a while without finding anything it yields None, so
that other trees get their turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from protonova.services.placement.index import bounds
from protonova.services.placement.index.candidate import Candidate
from protonova.services.placement.index.index import TreeView
from protonova.services.placement.index.parts import Part, Piece, bits, parts, seats_of
from protonova.services.placement.index.subtrees import Subtrees
from protonova.services.placement.query import CandidateQuery

# Work, in parts looked at, after which a walk that has found nothing lets others go first.
_PATIENCE = 5_000
_MOST_REMEMBERED = 20_000
# A candidate costs memory, too; the first of each tree is what everybody hopes for.
_COST_OF_ANOTHER = 100


@dataclass(slots=True)
class Effort:
    """What a query may still cost, in parts looked at; all of its walks draw on it."""

    left: int


@dataclass(slots=True)
class _Level:
    """A part to be assigned: the seats to try, who could serve the parts from here on, which required traits the
    parts before have brought, and whether anything was found below."""

    seats: Iterator[int]
    alive: Sequence[int]
    met: int
    fruitful: bool = False


def candidates(
    view: TreeView, query: CandidateQuery, pieces: Sequence[Piece], effort: Effort
) -> Iterator[Candidate | None]:
    """All candidates of a tree, with None in between."""
    effort.left -= len(pieces)
    if not query.root.allow(view.root):
        return
    walk = _Walk(view, query, pieces, effort)
    if not bounds.impossible(walk.parts, walk.room, isolate=query.isolate):
        yield from walk.run()


class _Walk:
    """One walk over one tree. `room` is what each seat has left, by class."""

    def __init__(
        self, view: TreeView, query: CandidateQuery, pieces: Sequence[Piece], effort: Effort
    ) -> None:
        self._view = view
        self._isolate = query.isolate
        self._effort = effort
        self._seats = seats_of(view)
        effort.left -= len(self._seats) * (1 + max((piece.kind for piece in pieces), default=0))
        self.parts: list[Part] = parts(view, query, pieces, self._seats)
        self.room: dict[str, list[int]] = {
            name: [
                inventory.room(seat.used.get(name, 0)) if (inventory := seat.inventories.get(name)) else -1
                for seat in self._seats
            ]
            for name in sorted(query.classes)
        }
        # The parts that need a class, and how much.
        self._askers: dict[str, list[tuple[int, int]]] = {name: [] for name in self.room}
        for number, part in enumerate(self.parts):
            for name, amount in part.needs:
                self._askers[name].append((number, amount))
        self._chosen: list[int] = []
        self._subtrees = Subtrees(view, self._seats, self.parts, query.same_subtree)
        plain = query.plain_group
        self._wanted = plain.conditions.required if plain is not None else ()
        self._brings = [
            sum(1 << place for place, choice in enumerate(self._wanted) if choice & seat.traits)
            for seat in self._seats
        ]
        self._later = self._brought_from()
        self._likeness: list[int] = []
        self._dead: set[object] = set()

    def run(self) -> Iterator[Candidate | None]:
        patience, found = _PATIENCE, False
        first = [part.options for part in self.parts]
        levels = [_Level(bits(first[0]), first, 0)]
        while levels:
            level = levels[-1]
            depth = len(levels) - 1
            seat = next(level.seats, None)
            if seat is None:
                self._leave(levels)
                continue
            self._effort.left -= len(self.parts)
            patience -= len(self.parts)
            if patience <= 0:
                patience = _PATIENCE
                yield None
            below = self._enter(depth, seat, level)
            if below is None:
                self._release(depth)
            elif depth + 1 < len(self.parts):
                levels.append(below)
            else:
                level.fruitful = True
                patience = _PATIENCE
                self._effort.left -= _COST_OF_ANOTHER if found else 0
                found = True
                yield self._candidate()
                self._release(depth)

    def _enter(self, depth: int, seat: int, level: _Level) -> _Level | None:
        """Assigns a part. None when it leaves another without anybody, or leads where nothing was found before."""
        part = self.parts[depth]
        self._chosen.append(seat)
        for name, amount in part.needs:
            self.room[name][seat] -= amount
        met = level.met if part.suffix else level.met | self._brings[seat]
        if met | self._later[depth + 1] != self._later[0]:
            return None
        alive = self._still_alive(depth, seat, level.alive)
        if alive is None or not self._subtrees.possible(self._chosen, alive):
            return None
        if not all(self._enough(name, depth, alive) for name, _ in part.needs):
            return None
        if self._dead and depth + 1 < len(self.parts) and self._state(met) in self._dead:
            return None
        return _Level(bits(alive[depth + 1]) if depth + 1 < len(alive) else iter(()), alive, met)

    def _release(self, depth: int) -> None:
        seat = self._chosen.pop()
        for name, amount in self.parts[depth].needs:
            self.room[name][seat] += amount

    def _leave(self, levels: list[_Level]) -> None:
        level = levels.pop()
        if not levels:
            return
        if level.fruitful:
            levels[-1].fruitful = True
        elif len(self._dead) < _MOST_REMEMBERED:
            self._dead.add(self._state(level.met))
        self._release(len(levels) - 1)

    def _still_alive(self, depth: int, seat: int, before: Sequence[int]) -> list[int] | None:
        """Who could serve each of the parts to come, now that a seat has less room."""
        alive = list(before)
        bit = 1 << seat
        alone = self._isolate and bool(self.parts[depth].suffix)
        for number in range(depth + 1, len(alive)):
            if not alive[number] & bit:
                continue
            part = self.parts[number]
            if (alone and part.suffix) or any(self.room[name][seat] < amount for name, amount in part.needs):
                alive[number] ^= bit
                if not alive[number]:
                    return None
        return alive

    def _enough(self, name: str, depth: int, alive: Sequence[int]) -> bool:
        """What nobody to come can use any more is lost: the rest must do for all of them."""
        askers = [(alive[number], amount) for number, amount in self._askers[name] if number > depth]
        return len(askers) < 2 or bounds.enough(askers, self.room[name])

    def _brought_from(self) -> list[int]:
        """For each place in the order of parts, the required traits that the parts from there on may bring."""
        found = [0]
        for part in reversed(self.parts):
            brought = found[-1]
            if not part.suffix:
                for seat in bits(part.options):
                    brought |= self._brings[seat]
            found.append(brought)
        found.reverse()
        if self._wanted:
            found[0] = (1 << len(self._wanted)) - 1
        return found

    def _state(self, met: int) -> object:
        """All that what is assigned means to what is to come. Seats that are alike may stand for each other."""
        if not self._likeness:
            self._likeness = self._alike()
        taken: dict[int, int] = {}
        for place, seat in enumerate(self._chosen):
            apart = 1 if self._isolate and self.parts[place].suffix else 0
            taken[seat] = taken.get(seat, 0) | apart | self._subtrees.named[place] << 1
        touched = sorted(
            (self._likeness[seat], tuple(room[seat] for room in self.room.values()), marks)
            for seat, marks in taken.items()
        )
        return len(self._chosen), met, tuple(touched)

    def _alike(self) -> list[int]:
        """For each seat a number, the same for those that nothing to come could tell apart."""
        numbers: dict[object, int] = {}
        found = []
        for seat in range(len(self._seats)):
            bit = 1 << seat
            looks = (
                tuple(bool(part.options & bit) for part in self.parts),
                tuple(self.room[name][seat] + self._given(name, seat) for name in self.room),
                self._brings[seat],
                self._subtrees.place(seat),
            )
            found.append(numbers.setdefault(looks, len(numbers)))
        return found

    def _given(self, name: str, seat: int) -> int:
        return sum(
            amount
            for place, chosen in enumerate(self._chosen)
            if chosen == seat
            for wanted, amount in self.parts[place].needs
            if wanted == name
        )

    def _candidate(self) -> Candidate:
        allocations: dict[str, dict[str, int]] = {}
        mappings: dict[str, set[str]] = {}
        for part, seat in zip(self.parts, self._chosen, strict=True):
            provider = self._seats[seat].id
            for name, amount in part.needs:
                amounts = allocations.setdefault(provider, {})
                amounts[name] = amounts.get(name, 0) + amount
            mappings.setdefault(part.suffix, set()).add(provider)
        return Candidate(
            self._view.root.id,
            allocations,
            {suffix: tuple(sorted(providers)) for suffix, providers in sorted(mappings.items())},
        )
