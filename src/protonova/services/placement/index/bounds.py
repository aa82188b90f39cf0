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
    return (
        any(not part.options for part in parts)
        or any(_too_little(name, parts, free) for name, free in room.items())
        or (isolate and not _matched([part.options for part in parts if part.suffix]))
    )


def _too_little(name: str, parts: Sequence[Part], free: Sequence[int]) -> bool:
    """Whether all who could give something of a class have too little of it together, or are too few: nobody
    serves more parts than the smallest of them goes into its room."""
    amounts = []
    able = 0
    for part in parts:
        for wanted, amount in part.needs:
            if wanted == name:
                amounts.append(amount)
                able |= part.options
    rooms = [free[seat] for seat in bits(able)]
    smallest = min(amounts)
    return sum(rooms) < sum(amounts) or sum(room // smallest for room in rooms) < len(amounts)


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
