"""The kit's proofs, of a kind of our own, on every database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import operations as kit
from tests.support.journeys import Journeys


@pytest.fixture
def case(database_url: str, tmp_path: Path) -> Journeys:
    return Journeys(database_url, tmp_path / "outside")


def test_every_step_may_be_repeated(case: Journeys) -> None:
    kit.prove_repeatable(case)


def test_whichever_step_fails_nothing_is_left(case: Journeys) -> None:
    kit.prove_undone(case)


def test_another_replica_finishes_what_a_killed_one_began(case: Journeys) -> None:
    # Three commits: each killed before and after, but for the last, after which nothing is left to do.
    assert kit.prove_killed(case) >= 6


def test_another_replica_undoes_what_a_killed_one_was_undoing(case: Journeys) -> None:
    assert kit.prove_killed(case, failing=True) >= 8


def test_a_preempting_operation_may_arrive_at_any_step(case: Journeys) -> None:
    kit.prove_preempted(case)
