"""Requests that could be served in more ways than anybody can look at: what fits is found, what does not is
told from what may, and the work is bounded. No time is measured here: without the bounds these would never end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from protonova.services.placement.index import search as searching
from protonova.services.placement.index.index import Index
from protonova.services.placement.index.search import Settings, search
from protonova.services.placement.query import CandidateQuery, Conditions, Group
from protonova.services.placement.records import Inventory, ProviderRecord

CHILDREN = 8


def cloud(trees: int, total: Callable[[int, int], int], children: int = CHILDREN) -> Index:
    """Trees of a root with VCPU and children with VF."""
    index = Index()
    number = 0
    for tree in range(trees):
        root = f"tree{tree:04}"
        own = {"VCPU": Inventory(64)}
        index.apply(ProviderRecord(root, root, 0, number, 0, root, inventories=own, used={"VCPU": 0}))
        number += 1
        for child in range(children):
            id_ = f"{root}-{child:03}"
            own = {"VF": Inventory(total(tree, child))}
            index.apply(ProviderRecord(id_, id_, 0, number, 0, root, root, inventories=own, used={"VF": 0}))
            number += 1
    return index


def asking(sizes: Sequence[int], **rest) -> CandidateQuery:
    groups = [Group(f"_{number:03}", {"VF": size}) for number, size in enumerate(sizes)]
    return CandidateQuery(groups=(Group("", {"VCPU": 1}), *groups), **rest)


def roots(found) -> set[str]:
    return {candidate.root for candidate in found}


@pytest.mark.parametrize("isolate", [False, True])
def test_a_limit_is_reached_in_one_tree_or_across_all(isolate):
    index = cloud(40, lambda tree, child: 8)
    query = asking([1] * CHILDREN, limit=40, isolate=isolate)
    deep = search(index, query)
    assert (len(deep), len(roots(deep)), deep.incomplete) == (40, 1, False)
    broad = search(index, query, Settings(take_turns=True))
    assert (len(broad), len(roots(broad)), broad.incomplete) == (40, 40, False)


def test_the_one_tree_that_fits_is_found():
    index = cloud(40, lambda tree, child: 9 if (tree, child) == (33, 5) else 8)
    found = search(index, asking([9, *[8] * 7], limit=1))
    assert roots(found) == {"tree0033"}


@pytest.mark.parametrize(
    ("sizes", "isolate"),
    [
        ([1] * 9, True),  # a child each, of which there are eight
        ([5] * 9, False),  # each fills a child
        ([8] * 8 + [1], False),  # more than there is
        ([5, 5, 5, 5, 5, 5, 5, 4, 4, 4], False),  # sums and counts allow it
    ],
)
def test_what_is_impossible_is_told_for_certain(sizes, isolate):
    found = search(cloud(20, lambda tree, child: 8), asking(sizes, isolate=isolate))
    assert (len(found), found.incomplete) == (0, False)


def test_a_tight_fit_is_found():
    """Seven children of different size, each filled by two groups that only fit together."""
    index = cloud(1, lambda tree, child: 20 + child, children=7)
    sizes = [size for child in range(7) for size in (11, 9 + child)]
    found = search(index, asking(sizes, limit=1))
    assert len(found) == 1


def test_trees_that_lead_nowhere_do_not_keep_from_the_others():
    """Sizes of which no two fill a child: every combination has to be tried, in vain, before the last tree."""

    def total(tree: int, child: int) -> int:
        return 500 if tree == 29 else 101 + child * 2

    index = cloud(30, total, children=24)
    sizes = [40 + number % 9 for number in range(44)] + [90]
    found = search(index, asking(sizes, limit=1))
    assert len(found) == 1


def test_work_is_bounded_and_the_answer_says_so(monkeypatch):
    monkeypatch.setattr(searching, "_MOST_EFFORT", 20_000)
    index = cloud(2, lambda tree, child: 8)
    found = search(index, asking([1] * CHILDREN))
    assert found.incomplete
    assert 0 < len(found) < 1_000
    assert not search(index, asking([1] * CHILDREN, limit=20)).incomplete
    # Even sizes leave something of every odd child: less than all that was left, but who could know? It is not
    # told as if it did not fit.
    hard = cloud(1, lambda tree, child: 101 + child * 2)
    sizes = [6 + number % 7 * 2 for number in range(72)]
    sizes[-1] += 858 - sum(sizes)
    found = search(hard, asking(sizes))
    assert (len(found), found.incomplete) == (0, True)


def test_a_hundred_groups():
    index = cloud(10, lambda tree, child: 1 + child % 3, children=100)
    found = search(index, asking([1] * 100, isolate=True, limit=20), Settings(take_turns=True))
    assert (len(found), len(roots(found))) == (20, 10)
    assert len(search(index, asking([1] * 101, isolate=True, limit=20))) == 0


def test_required_traits_are_looked_for_ahead():
    """Of many providers that could serve a class only the last has the trait."""
    index = Index()
    own = {"VCPU": Inventory(8), "MEMORY_MB": Inventory(8), "DISK_GB": Inventory(8)}
    index.apply(ProviderRecord("root", "root", 0, 0, 0, "root"))
    for number in range(1, 60):
        id_ = f"child{number:02}"
        traits = frozenset({"RED"}) if number == 59 else frozenset()
        index.apply(ProviderRecord(id_, id_, 0, number, 0, "root", "root", inventories=own, traits=traits))
    wanted = Conditions(required=(frozenset({"RED"}),))
    query = CandidateQuery(groups=(Group("", dict.fromkeys(own, 1), wanted),), limit=5)
    found = list(search(index, query))
    assert len(found) == 5
    assert all("child59" in candidate.allocations for candidate in found)
