"""Ids as they travel by the thousand."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protonova.services.runtime.packed_ids import PackedIds


@given(st.lists(st.uuids()), st.slices(20))
def test_what_was_packed_reads_as_before(ids: list[uuid.UUID], part: slice):
    texts = [str(each) for each in ids]
    packed = PackedIds.of(texts)
    assert packed is not None
    assert list(packed) == list(PackedIds(packed.packed)) == texts
    assert len(packed) == len(texts)
    assert packed[part] == texts[part]
    assert [packed[-place] for place in range(1, len(texts) + 1)] == texts[::-1]


@pytest.mark.parametrize(
    "odd",
    [
        "",
        "n1",
        "6A1F3C0E-8D5B-4D7E-9B1A-0C2D3E4F5A6B",
        "6a1f3c0e8d5b4d7e9b1a0c2d3e4f5a6b",
        "6a1f-3c0e8d5b-4d7e-9b1a-0c2d3e4f5a6b",
        "6a1f3c0e-8d5b-4d7e-9b1a-0c2d3e4f5a6x",
        "6a1f3c0e-8d5b-4d7e-9b1a-0c2d3e4f5a  ",
        "6a1f3c0e-8d5b-4d7e-9b1a-0c2d3e4f5a6é",
    ],
)
def test_what_would_not_read_the_same_is_not_packed(odd: str):
    assert PackedIds.of([odd]) is None
    assert PackedIds.of([str(uuid.UUID(int=1)), odd]) is None


def test_half_an_id_is_refused():
    with pytest.raises(ValueError, match="17 bytes"):
        PackedIds(bytes(17))
    with pytest.raises(IndexError):
        PackedIds(bytes(16))[1]
