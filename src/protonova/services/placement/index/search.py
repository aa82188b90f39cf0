"""Answers a candidate query from the index: lone providers by arrays, trees by walks, cut at the limit early.

`Settings` are the operator's: whether a limited answer is a random sample, whether trees are exhausted one after
another or take turns, and how many candidates are looked at before the limit at most.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from protonova.services.placement.index import compound, single
from protonova.services.placement.index.candidate import Candidate
from protonova.services.placement.index.index import Index
from protonova.services.placement.query import CandidateQuery, invalid
from protonova.services.placement.records import ProviderRecord

# Steps of a search: some seconds at most. A tree that is not made to be hard takes fewer than those of one root.
_STEPS = 300_000
_STEPS_OF_A_ROOT = 200


@dataclass(frozen=True, slots=True)
class Settings:
    """`most` = 0 means no bound."""

    randomize: bool = False
    take_turns: bool = False
    most: int = 0


def search(index: Index, query: CandidateQuery, settings: Settings = Settings()) -> list[Candidate]:
    """All candidates, or as many as the query's limit allows, or as a bounded number of steps finds. Raises
    QUERY_INVALID when these find none."""
    bound = settings.most or None
    if query.limit and not settings.randomize:
        bound = query.limit if bound is None else min(bound, query.limit)
    with index.lock:
        chosen = single.slots(index, query)
        if query.limit and settings.randomize and len(chosen) > query.limit:
            chosen = np.array(random.sample(list(chosen), query.limit), dtype=np.intp)
        found = list(single.candidates(index, query, chosen[:bound]))
        left = None if bound is None else bound - len(found)
        roots = [] if left == 0 else _compound_roots(index, query)
    if roots:
        try:
            for candidate in islice(_distinct(_walks(index, query, roots, settings)), left):
                found.append(candidate)
        except compound.GivenUpError:
            if not found:
                raise invalid(
                    "resources", "The groups fit together in too many ways to try them all."
                ) from None
    if query.limit and settings.randomize and len(found) > query.limit:
        return random.sample(found, query.limit)
    return found


def summarized(index: Index, query: CandidateQuery, candidates: Iterable[Candidate]) -> list[ProviderRecord]:
    """The providers that an answer tells about: those of every tree used, or without nesting those used."""
    found: dict[str, ProviderRecord] = {}
    with index.lock:
        used = {provider for candidate in candidates for provider in candidate.allocations}
        trees: set[str] = set()
        for provider in used:
            if (record := index.get(provider)) is None:
                continue
            if not query.nested:
                found[provider] = record
            elif record.root not in trees:
                trees.add(record.root)
                found.update((member.id, member) for member in index.tree(record.root))
    return list(found.values())


def _compound_roots(index: Index, query: CandidateQuery) -> list[str]:
    return [index.record_at(slot).id for slot in np.flatnonzero(single.possible_roots(index, query)).tolist()]


def _walks(
    index: Index, query: CandidateQuery, roots: Iterable[str], settings: Settings
) -> Iterator[Candidate]:
    roots = list(roots)
    steps = compound.Steps(_STEPS + _STEPS_OF_A_ROOT * len(roots))
    walks = (
        compound.candidates(view, query, steps)
        for root in roots
        if (view := index.view(root, nested=query.nested)) is not None
    )
    return _in_turns(walks) if settings.take_turns else chain.from_iterable(walks)


def _in_turns(walks: Iterable[Iterator[Candidate]]) -> Iterator[Candidate]:
    """One candidate of each, then the next of each."""
    waiting = deque(walks)
    while waiting:
        walk = waiting.popleft()
        if (found := next(walk, None)) is not None:
            waiting.append(walk)
            yield found


def _distinct(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    """Sharing providers alone serve every tree they share with in the same way: told once."""
    seen: set[tuple[object, ...]] = set()
    for candidate in candidates:
        key = candidate.key()
        if key not in seen:
            seen.add(key)
            yield candidate
