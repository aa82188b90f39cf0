"""The search among providers that stand alone: a few operations on arrays, whatever their number.

A root without children with whom nothing is shared serves a request alone or not at all, so every group falls to
it and there is one candidate for it at most. The caller holds the index's lock.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from protonova.services.placement.index.columns import Mask
from protonova.services.placement.index.index import Index, both
from protonova.services.placement.query import CandidateQuery


def slots(index: Index, query: CandidateQuery) -> npt.NDArray[np.intp]:
    """Slots of all lone providers that fit, in their order."""
    if query.isolate and len(query.suffixed_groups) > 1:
        return np.empty(0, dtype=np.intp)
    mask = index.single(nested=query.nested)
    for name in query.classes:
        mask &= index.fits(name, amounts_of(query, name))
    for conditions in (query.root, *(group.conditions for group in query.groups)):
        if (allowed := index.allowed(conditions)) is not None:
            mask &= allowed
    for group in query.groups:
        if group.in_tree:
            mask &= index.in_tree(group.in_tree)
    return np.flatnonzero(mask)


def amounts_of(query: CandidateQuery, name: str) -> tuple[int, ...]:
    """What each group that asks for a class asks of it."""
    return tuple(group.resources[name] for group in query.groups if name in group.resources)


def possible_roots(index: Index, query: CandidateQuery) -> Mask:
    """Roots that are worth a closer look: no tree that could serve is missing."""
    mask = index.compound_roots(nested=query.nested)
    for name in query.classes:
        amounts = amounts_of(query, name)
        for amount in set(amounts):
            mask = both(mask, index.roots_fitting(name, (amount,)))
        if len(amounts) > 1:
            mask = both(mask, index.roots_with_room(name, amounts))
    for group in query.groups:
        if group.in_tree:
            mask = both(mask, index.in_tree(group.in_tree))
    if (allowed := index.allowed(query.root)) is not None:
        mask = both(mask, allowed)
    return mask
