"""Whether what is allocated at a moment keeps the rules of server groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tests.chaos.placement.books import Holdings


class GroupRules:
    """The groups of a test with their policies, and who has ever been a member of them."""

    def __init__(self) -> None:
        self._rules: dict[str, tuple[str, int]] = {}
        self._members: dict[str, str] = {}

    def add(self, group: str, policy: str, most: int = 1) -> None:
        self._rules[group] = (policy, most)

    def joined(self, group: str, servers: Iterable[str]) -> None:
        """Before any of them can be allocated anything."""
        self._members.update(dict.fromkeys(servers, group))

    @property
    def groups(self) -> list[str]:
        return list(self._rules)

    def broken(self, holdings: Holdings) -> list[str]:
        """Each rule that is broken, with how many members each of its group's hosts has."""
        crowd: Counter[tuple[str, str]] = Counter()
        for server, providers in holdings.items():
            if (group := self._members.get(server)) is not None:
                crowd.update((group, provider) for provider in providers)
        found = []
        for group, (policy, most) in self._rules.items():
            counts = [count for (of, _), count in crowd.items() if of == group]
            apart = policy == "AFFINITY" and len(counts) > 1
            crowded = policy == "ANTI_AFFINITY" and max(counts, default=0) > most
            if apart or crowded:
                found.append(f"{policy} {most}: {counts}")
        return found
