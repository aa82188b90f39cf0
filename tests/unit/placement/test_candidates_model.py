"""The index's search against a plain one that tries everything, on small random clouds, for random requests."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protonova.services.placement.index.search import Settings, search
from tests.support.candidates import clouds, index_of, keys, plain_search, queries

always_the_same = {"deadline": None, "derandomize": True, "database": None}


@settings(max_examples=80, **always_the_same)
@given(cloud=clouds(nested=False), query=queries(), nested=st.booleans())
def test_lone_providers(cloud, query, nested):
    query = replace(query, nested=nested, same_subtree=query.same_subtree if nested else ())
    assert keys(search(index_of(cloud), query)) == plain_search(cloud, query)


@settings(max_examples=250, **always_the_same)
@given(cloud=clouds(), query=queries(), nested=st.sampled_from([True, True, False]))
def test_trees(cloud, query, nested):
    query = replace(query, nested=nested, same_subtree=query.same_subtree if nested else ())
    assert keys(search(index_of(cloud), query)) == plain_search(cloud, query)


@pytest.mark.parametrize("take_turns", [False, True])
@settings(max_examples=60, **always_the_same)
@given(cloud=clouds(), query=queries(), limit=st.integers(1, 4))
def test_limits(take_turns, cloud, query, limit):
    """As many as were asked for, unless there are fewer; always the same ones."""
    expected = plain_search(cloud, query)
    chosen = Settings(take_turns=take_turns)
    limited = replace(query, limit=limit)
    found = search(index_of(cloud), limited, chosen)
    assert keys(found) <= expected
    assert len(found) == min(limit, len(expected))
    assert list(search(index_of(cloud), limited, chosen)) == list(found)
    assert len(search(index_of(cloud), limited, replace(chosen, most=2))) == min(limit, 2, len(expected))
    sample = search(index_of(cloud), limited, replace(chosen, randomize=True))
    assert keys(sample) <= expected
    assert len(sample) == len(found)
