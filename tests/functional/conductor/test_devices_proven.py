"""The kit's proofs of every kind of operation that plugs something: repeated, failing, killed, preempted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import device_cases as cases
from tests.support import operations as kit
from tests.support.conductor import Edges
from tests.support.device_cases import DeviceCase

REVERSIBLE = [
    cases.AttachVolumeCase,
    cases.AttachShelvedCase,
    cases.DetachVolumeCase,
    cases.AttachPortCase,
    cases.AttachNetworkCase,
    cases.DetachPortCase,
    cases.GroupCase,
    cases.SnapshotVolumeCase,
    cases.MergeVolumeCase,
    cases.AttachShareCase,
]
# A detached share is given back once it is detached, or later.
FORWARD = [cases.DetachShareCase]
# What a swap has brought to its end stays: the volume service goes on with the new one.
ALL = [*REVERSIBLE, *FORWARD, cases.SwapVolumeCase]


@pytest.fixture
def case(request: pytest.FixtureRequest, tmp_path: Path, edges: Edges) -> Iterator[DeviceCase]:
    made = request.param(tmp_path, edges)
    yield made
    made.close()


def each(kinds):
    return pytest.mark.parametrize("case", kinds, indirect=True, ids=lambda kind: kind.__name__)


@each([*REVERSIBLE, *FORWARD])
def test_every_step_may_be_repeated(case: DeviceCase) -> None:
    kit.prove_repeatable(case)


@each(REVERSIBLE)
def test_whichever_step_fails_all_is_as_before(case: DeviceCase) -> None:
    kit.prove_undone(case)


@each(ALL)
def test_another_replica_finishes_what_a_killed_one_began(case: DeviceCase) -> None:
    assert kit.prove_killed(case) >= 2


@each([cases.AttachVolumeCase, cases.DetachPortCase, cases.AttachShareCase])
def test_another_replica_undoes_what_a_killed_one_was_undoing(case: DeviceCase) -> None:
    assert kit.prove_killed(case, failing=True) >= 4


@each(ALL)
def test_a_delete_may_arrive_at_any_step(case: DeviceCase) -> None:
    kit.prove_preempted(case)
