"""One call at a time for each guest, and the right of a `destroy` to go first.

Purely within one process and only to keep a driver's own calls apart; correctness across crashes never
depends on it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Revoked = Callable[[], bool]


@dataclass
class _Turn:
    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    generation: int = 0


class Turns:
    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._turns: dict[str, _Turn] = {}

    @contextmanager
    def take(self, server_id: str, *, revoking: bool = False) -> Iterator[Revoked]:
        """Wait for this guest's turn. What is yielded says whether a later revoking call waits: long calls
        look at it and give up."""
        with self._guard:
            turn = self._turns.setdefault(server_id, _Turn())
            turn.users += 1
            if revoking:
                turn.generation += 1
            born = turn.generation
        try:
            with turn.lock:
                yield lambda: turn.generation != born
        finally:
            with self._guard:
                turn.users -= 1
                if not turn.users:
                    del self._turns[server_id]
