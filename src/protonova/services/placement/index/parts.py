"""What a request falls into, and who in a tree could serve what of it.

A part is what one provider serves: a whole group with a suffix, or one class of the group without. The providers of
a tree, and those that share with it, have seats: small numbers, so that a set of them is one integer's bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from protonova.services.placement.index.index import TreeView
from protonova.services.placement.query import CandidateQuery, Group
from protonova.services.placement.records import ProviderRecord

Needs = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a request, of whatever tree. Pieces of one `kind` are served by the same providers."""

    group: Group
    needs: Needs
    kind: int


@dataclass(frozen=True, slots=True)
class Part:
    """A piece in a tree; `options` are the seats of those who could serve it if it were alone."""

    suffix: str
    needs: Needs
    options: int


def pieces(query: CandidateQuery) -> tuple[Piece, ...]:
    kinds: dict[object, int] = {}
    found = []
    for group in query.groups:
        whole: Needs = tuple(group.resources.items())
        for needs in (whole,) if group.suffix else ((need,) for need in whole):
            alike = (needs, group.conditions, group.in_tree, bool(group.suffix))
            found.append(Piece(group, needs, kinds.setdefault(alike, len(kinds))))
    return tuple(found)


def seats_of(view: TreeView) -> tuple[ProviderRecord, ...]:
    """In the order they were made, so that answers are always in the same order."""
    return tuple(sorted((*view.providers, *view.sharing), key=lambda provider: provider.incarnation))


def parts(
    view: TreeView, query: CandidateQuery, wanted: Iterable[Piece], seats: tuple[ProviderRecord, ...]
) -> list[Part]:
    """Those with the fewest options come first, and of these the largest: dead ends show early."""
    own = {provider.id for provider in view.providers}
    options: dict[int, int] = {}
    found = []
    for piece in wanted:
        if (able := options.get(piece.kind)) is None:
            able = options[piece.kind] = _able(view, query, piece, seats, own)
        found.append(Part(piece.group.suffix, piece.needs, able))
    found.sort(key=lambda part: (part.options.bit_count(), [-amount for _, amount in part.needs]))
    return found


def bits(mask: int) -> Iterator[int]:
    """The numbers of the bits that are set, lowest first."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def _able(
    view: TreeView, query: CandidateQuery, piece: Piece, seats: tuple[ProviderRecord, ...], own: set[str]
) -> int:
    group = piece.group
    if group.in_tree and group.in_tree not in own:
        return 0
    from_outside = bool(group.resources) and not group.in_tree
    mask = 0
    for seat, provider in enumerate(seats):
        if (
            (from_outside or provider.id in own)
            and all(provider.fits(name, amount) for name, amount in piece.needs)
            and (
                group.conditions.allow(provider) if group.suffix else _may_join(view, query, group, provider)
            )
        ):
            mask |= 1 << seat
    return mask


def _may_join(view: TreeView, query: CandidateQuery, group: Group, provider: ProviderRecord) -> bool:
    """Whether a provider may serve some of the group without a suffix. An aggregate on the root spans the tree;
    required traits are asked of all that serve together, at the end."""
    conditions = group.conditions
    if conditions.forbidden & provider.traits:
        return False
    spanning = view.root.aggregates if query.nested else frozenset[str]()
    if conditions.forbidden_aggregates & (provider.aggregates | spanning):
        return False
    return all(choice & provider.aggregates for choice in conditions.member_of) or (
        bool(spanning) and all(choice & spanning for choice in conditions.member_of)
    )
