"""The kit's proofs, of the kinds of operations that change what a server is where it is."""

from __future__ import annotations

import pytest

from tests.support import operations as kit
from tests.support.state_cases import RebuildCase, RescueCase, RestoreCase, SoftDeleteCase, StateCase


@pytest.fixture(params=[RebuildCase, RescueCase, SoftDeleteCase, RestoreCase], ids=lambda kind: kind.kind)
def case(request, tmp_path, edges) -> StateCase:
    made = request.param(tmp_path, edges)
    yield made
    made.close()


def test_every_step_may_be_repeated(case: StateCase) -> None:
    kit.prove_repeatable(case)


def test_whichever_step_fails_nothing_is_left(case: StateCase) -> None:
    kit.prove_undone(case)


def test_another_replica_finishes_what_a_killed_one_began(case: StateCase) -> None:
    assert kit.prove_killed(case) >= 2


def test_another_replica_undoes_what_a_killed_one_was_undoing(case: StateCase) -> None:
    assert kit.prove_killed(case, failing=True) >= 2


def test_a_delete_may_arrive_at_any_step(case: StateCase) -> None:
    kit.prove_preempted(case)
