"""Sets of CPUs as they are written."""

from __future__ import annotations

import pytest

from protonova.services.numa import cpus


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", set()),
        ("3", {3}),
        ("0-3,8", {0, 1, 2, 3, 8}),
        ("^1,0-3", {0, 2, 3, 4, 5, 6, 7}),
        ("0-3,^1", {0, 2, 3}),
        ("0-5,^2-4", {0, 1, 5}),
        (" 1 , 2 ", {1, 2}),
    ],
)
def test_reading(text: str, found: set[int]) -> None:
    assert cpus.parse(text, range(8)) == found


@pytest.mark.parametrize("text", ["x", "3-1", "1-", "-", "1;2", "0-999999999999", "9999"])
def test_what_is_no_set(text: str) -> None:
    with pytest.raises(ValueError, match="'"):
        cpus.parse(text)


@pytest.mark.parametrize(
    ("found", "text"), [((), ""), ((3,), "3"), ((0, 1, 2, 8), "0-2,8"), ((5, 1, 0), "0-1,5")]
)
def test_writing(found: tuple[int, ...], text: str) -> None:
    assert cpus.spell(found) == text
    assert cpus.parse(text) == set(found)
