"""What placement's answer means for the rows of a table."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from protonova.placement.v1 import allocation_pb2 as pb
from protonova.services.scheduler.offer import Offer, Ways

AMOUNTS = {"VCPU": 2, "MEMORY_MB": 512}


def _answer(alone: list[str], trees: list[str]) -> pb.ListAllocationCandidatesResponse:
    """Each tree serves VCPUs from its root and memory from a child of its own."""
    answer = pb.ListAllocationCandidatesResponse()
    answer.alone.provider_ids.extend(alone)
    answer.alone.resources.amounts.update(AMOUNTS)
    for number, root in enumerate(trees):
        providers = answer.candidates.add(root_id=root).allocations.providers
        providers[root].amounts["VCPU"] = 2
        providers[f"numa-{number}"].amounts["MEMORY_MB"] = 512
    return answer


def test_lone_hosts_come_first_and_trees_after_them():
    offer = Offer.of(_answer(["a", "b"], ["c", "c"]))
    assert list(offer.root_ids()) == ["a", "b", "c", "c"]
    assert [dict(offer[place]) for place in range(len(offer))] == [
        {"a": AMOUNTS},
        {"b": AMOUNTS},
        {"c": {"VCPU": 2}, "numa-0": {"MEMORY_MB": 512}},
        {"c": {"VCPU": 2}, "numa-1": {"MEMORY_MB": 512}},
    ]


@given(st.lists(st.integers(-1, 5), max_size=30), st.integers(0, 30))
def test_each_row_has_its_ways_in_their_order(rows: list[int], alone: int):
    alone = min(alone, len(rows))
    names = [f"n{number}" for number in range(len(rows))]
    ways = Ways(Offer.of(_answer(names[:alone], names[alone:])), np.array(rows, dtype=np.intp), 6)
    assert len(ways) == 6
    for row in range(6):
        assert [min(way, key=lambda provider: provider[:2] == "nu") for way in ways[row]] == [
            name for name, of in zip(names, rows, strict=True) if of == row
        ]
