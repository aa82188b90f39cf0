"""Answers a candidate query from the index: lone providers by arrays, trees by walks, cut at the limit early.

`Settings` are the operator's: whether a limited answer is a random sample, whether trees are exhausted one after
another or take turns, and how many candidates are looked at before the limit at most. Whatever is asked, the work
on trees is bounded: a walk that finds nothing for a while lets the other trees go first, and when all of them
together have cost too much the answer is what was found until then.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np

from protonova.services.placement.index import compound, single
from protonova.services.placement.index.candidate import Answer, Candidate, LoneProviders
from protonova.services.placement.index.compound import Effort
from protonova.services.placement.index.index import Index
from protonova.services.placement.index.parts import pieces
from protonova.services.placement.query import CandidateQuery
from protonova.services.placement.records import ProviderRecord

# What all walks of a query may cost together, in parts looked at: about a second.
_MOST_EFFORT = 1_500_000

_Walk = Iterator[Candidate | None]


@dataclass(frozen=True, slots=True)
class Settings:
    """`most` = 0 means no bound."""

    randomize: bool = False
    take_turns: bool = False
    most: int = 0


def search(index: Index, query: CandidateQuery, settings: Settings = Settings()) -> Answer:
    """All candidates, or as many as the query's limit allows."""
    bound = settings.most or None
    if query.limit and not settings.randomize:
        bound = query.limit if bound is None else min(bound, query.limit)
    with index.lock:
        chosen = [index.record_at(slot).id for slot in single.slots(index, query)[:bound].tolist()]
        left = None if bound is None else bound - len(chosen)
        roots = [] if left == 0 else _compound_roots(index, query)
    alone = LoneProviders(
        chosen,
        {name: sum(single.amounts_of(query, name)) for name in query.classes},
        [group.suffix for group in query.groups],
    )
    effort = Effort(_MOST_EFFORT)
    walked = _distinct(index, _walked(_walks(index, query, roots, effort), effort, settings.take_turns))
    trees = list(islice(walked, left))
    # With as many as were asked for nothing is missing.
    answer = Answer(alone, trees, effort.left <= 0 and (left is None or len(trees) < left))
    if query.limit and settings.randomize and len(answer) > query.limit:
        return _sample(answer, query.limit)
    return answer


def summarized(index: Index, query: CandidateQuery, answer: Answer) -> list[ProviderRecord]:
    """The providers that an answer tells about: those of every tree used, or without nesting those used."""
    found: dict[str, ProviderRecord] = {}
    with index.lock:
        found.update((id_, record) for id_ in answer.alone.ids if (record := index.get(id_)))
        used = {provider for candidate in answer.trees for provider in candidate.allocations}
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


def _walks(index: Index, query: CandidateQuery, roots: Iterable[str], effort: Effort) -> Iterator[_Walk]:
    wanted = pieces(query)
    for root in roots:
        if (view := index.view(root, nested=query.nested)) is not None:
            yield compound.candidates(view, query, wanted, effort)


def _walked(walks: Iterable[_Walk], effort: Effort, take_turns: bool) -> Iterator[Candidate]:
    """What walks find, each until it is through or pauses, or with `take_turns` one candidate of each, then the
    next of each. A walk that has paused goes on after all others have had a turn."""
    waiting: deque[_Walk] = deque()
    for walk in chain(walks, _emptied(waiting)):
        for found in walk:
            if found is not None:
                yield found
            if effort.left <= 0:
                return
            if found is None or take_turns:
                waiting.append(walk)
                break


def _emptied(waiting: deque[_Walk]) -> Iterator[_Walk]:
    while waiting:
        yield waiting.popleft()


def _distinct(index: Index, candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    """Sharing providers alone serve every tree they share with in the same way: told once."""
    seen: set[tuple[object, ...]] = set()
    for candidate in candidates:
        if all((record := index.get(id_)) is None or record.shares for id_ in candidate.allocations):
            key = candidate.key()
            if key in seen:
                continue
            seen.add(key)
        yield candidate


def _sample(answer: Answer, count: int) -> Answer:
    places = random.sample(range(len(answer)), count)
    lone = len(answer.alone.ids)
    return replace(
        answer,
        alone=replace(answer.alone, ids=[answer.alone.ids[place] for place in places if place < lone]),
        trees=[answer.trees[place - lone] for place in places if place >= lone],
    )
