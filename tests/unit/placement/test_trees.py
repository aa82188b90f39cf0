"""Roots that follow from parents."""

from __future__ import annotations

import pytest

from protonova.services.placement.upkeep.trees import roots


@pytest.mark.parametrize(
    ("parents", "expected"),
    [
        ({}, {}),
        ({1: None}, {1: 1}),
        ({1: None, 2: 1, 3: 2, 4: None}, {1: 1, 2: 1, 3: 1, 4: 4}),
        ({3: 2, 2: 1, 1: None}, {1: 1, 2: 1, 3: 1}),
        # Itself, a circle with a tail, and a parent that is not there.
        ({1: 1, 2: 1}, {1: None, 2: None}),
        ({1: 3, 2: 1, 3: 2, 4: 3, 5: None}, {1: None, 2: None, 3: None, 4: None, 5: 5}),
        ({2: 1, 3: 2}, {2: None, 3: None}),
    ],
)
def test_roots(parents: dict[int, int | None], expected: dict[int, int | None]) -> None:
    assert roots({number: (parent, None) for number, parent in parents.items()}) == expected
