"""Many hosts found at once are those that are found one by one."""

from __future__ import annotations

import uuid

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from protonova.services.runtime.packed_ids import PackedIds
from protonova.services.scheduler.finder import Finder
from tests.unit.scheduler.hosts import Rack

# Of few bits, so that ids are alike and meet in the table.
IDS = st.builds(
    lambda high, low: str(uuid.UUID(int=high << 64 | low)), st.integers(0, 15), st.integers(0, 15)
)


def _packed(ids: list[str]) -> PackedIds:
    packed = PackedIds.of(ids)
    assert packed is not None
    return packed


@given(st.lists(IDS, unique=True), st.lists(IDS))
def test_each_has_its_number(known: list[str], asked: list[str]):
    numbers = {each: 3 * place + 1 for place, each in enumerate(known)}
    finder = Finder(_packed(known), np.array(list(numbers.values()), dtype=np.intp))
    assert finder.find(_packed(asked)).tolist() == [numbers.get(each, -1) for each in asked]


def test_hosts_that_came_and_went_are_minded():
    first, second, third = (str(uuid.UUID(int=number)) for number in range(3))
    view = Rack({first: {}, second: {}}).view
    asked = [third, second, first]
    for _ in range(2):
        assert view.table(_packed(asked), [second])[1].tolist() == [-1, 0, 1, 0]
    view.drop_host(second, view.table([second])[0].record(0).cell_id)
    assert view.table(_packed(asked))[1].tolist() == [-1, -1, 0]
    view.put_host(Rack({third: {}}).table().record(0))
    assert view.table(_packed(asked))[1].tolist() == [0, -1, 1]
