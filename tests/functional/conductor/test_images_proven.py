"""The kit's proofs, of images made of servers and of shelving."""

from __future__ import annotations

import pytest

from tests.support import operations as kit
from tests.support.image_cases import (
    BackupCase,
    ImageCase,
    OffloadCase,
    ShelveCase,
    SnapshotCase,
    UnshelveCase,
    VolumeImageCase,
)

CASES = [SnapshotCase, BackupCase, VolumeImageCase, ShelveCase, OffloadCase, UnshelveCase]


@pytest.fixture(params=CASES, ids=lambda case: case.action.operation)
def case(request, tmp_path, edges) -> ImageCase:
    made = request.param(tmp_path, edges)
    yield made
    made.close()


def test_every_step_may_be_repeated(case: ImageCase) -> None:
    kit.prove_repeatable(case)


def test_whichever_step_fails_nothing_is_left(case: ImageCase) -> None:
    kit.prove_undone(case)


def test_another_replica_finishes_what_a_killed_one_began(case: ImageCase) -> None:
    assert kit.prove_killed(case) >= 2


def test_another_replica_undoes_what_a_killed_one_was_undoing(case: ImageCase) -> None:
    assert kit.prove_killed(case, failing=True) >= 2


def test_a_delete_may_arrive_at_any_step(case: ImageCase) -> None:
    kit.prove_preempted(case)
