"""Tells early that a tree cannot serve a request: by sums, by counts, by who can serve whom.

What is ruled out here is impossible; what is not may still be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from protonova.services.placement.index.parts import Part, bits

# Room by seat, by class.
Room = Mapping[str, Sequence[int]]


def impossible(parts: Sequence[Part], room: Room, *, isolate: bool) -> bool:
    if any(not part.options for part in parts):
        return True
    for name, free in room.items():
        askers = [(part.options, amount) for part in parts for wanted, amount in part.needs if wanted == name]
        if not enough(askers, free):
            return True
    return isolate and not _matched([part.options for part in parts if part.suffix])


def enough(askers: Sequence[tuple[int, int]], free: Sequence[int]) -> bool:
    """Whether those who could serve some askers of a class, each told by its options and its amount, may have
    enough for them together: by sum, and by count, as nobody serves more than the smallest goes into its room."""
    able = 0
    for options, _ in askers:
        able |= options
    rooms = [free[seat] for seat in bits(able)]
    wanted = [amount for _, amount in askers]
    smallest = min(wanted)
    return sum(rooms) >= sum(wanted) and sum(room // smallest for room in rooms) >= len(wanted)


def _matched(options: Sequence[int]) -> bool:
    """Whether each part can have a seat of its own: each in turn takes one, for which others may have to move."""
    holder: dict[int, int] = {}
    for first in range(len(options)):
        came_from: dict[int, int] = {}
        waiting = deque([first])
        end = -1
        while waiting and end < 0:
            part = waiting.popleft()
            for seat in bits(options[part]):
                if seat in came_from:
                    continue
                came_from[seat] = part
                if seat not in holder:
                    end = seat
                    break
                waiting.append(holder[seat])
        if end < 0:
            return False
        held = {part: seat for seat, part in holder.items()}
        seat = end
        while seat >= 0:
            part = came_from[seat]
            holder[seat] = part
            seat = held.get(part, -1)
    return True
