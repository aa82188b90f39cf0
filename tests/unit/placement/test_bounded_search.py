"""However many ways there are to spread groups over a tree, a search ends."""

from __future__ import annotations

from protonova.services.placement.index.index import Index
from protonova.services.placement.index.search import search
from protonova.services.placement.query import MOST_PARTS, CandidateQuery, Group
from protonova.services.placement.records import Inventory, ProviderRecord


def tree() -> Index:
    index = Index()
    for number in range(5):
        name = f"p{number}"
        inventories = {"VCPU": Inventory(1000)}
        parent = "p0" if number else ""
        index.apply(ProviderRecord(name, name, 0, number, 0, "p0", parent=parent, inventories=inventories))
    return index


def groups(number: int) -> tuple[Group, ...]:
    return tuple(Group(str(each), {"VCPU": 1}) for each in range(number))


def test_some_of_very_many_are_told():
    found = search(tree(), CandidateQuery(groups=groups(MOST_PARTS)))
    assert 0 < len(found) < 10_000
    assert len({candidate.key() for candidate in found}) == len(found)


def test_what_ends_is_told_whole():
    assert len(search(tree(), CandidateQuery(groups=groups(5)))) == 5**5
