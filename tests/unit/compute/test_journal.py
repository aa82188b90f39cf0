"""The agent's journal: who is let in, what a repeat is told."""

import pytest

from protonova.compute.v1 import guest_pb2
from protonova.services.compute.journal import Journal
from protonova.services.runtime import errors


def fence(operation="op", step="spawning", generation=1, sequence=0):
    return guest_pb2.Fence(operation_id=operation, step=step, generation=generation, sequence=sequence)


@pytest.fixture
def journal(tmp_path):
    opened = Journal(tmp_path / "journal.sqlite")
    yield opened
    opened.close()


def test_a_first_call_has_no_outcome_and_a_repeat_gets_the_recorded_one(journal):
    assert journal.admit("server", fence()) is None
    journal.record(fence(), b"outcome")
    assert journal.admit("server", fence()) == b"outcome"
    assert journal.admit("server", fence(step="other")) is None


def test_marks_of_a_host_are_kept_in_the_order_they_were_given(tmp_path):
    first = Journal(tmp_path / "journal.sqlite")
    for host, mark in (("one", "a"), ("two", "x"), ("one", "b"), ("one", "a")):
        first.add_mark(host, mark)
    first.close()
    again = Journal(tmp_path / "journal.sqlite")
    assert (again.marks("one"), again.marks("two"), again.marks("three")) == (["b", "a"], ["x"], [])
    again.close()


def test_an_overtaken_holder_is_refused_and_changes_nothing(journal):
    journal.admit("server", fence(generation=3))
    with pytest.raises(errors.FailedPrecondition) as refused:
        journal.admit("server", fence(generation=2))
    assert refused.value.reason == "FENCED"
    assert refused.value.facts == {"seen": "3", "given": "2"}
    assert journal.still_held(fence(generation=3))
    assert not journal.still_held(fence(generation=2))


def test_an_older_operation_of_the_same_server_is_refused(journal):
    journal.admit("server", fence("delete", "destroy", sequence=8))
    with pytest.raises(errors.FailedPrecondition) as refused:
        journal.admit("server", fence("create", sequence=7))
    assert refused.value.reason == "FENCED"
    assert journal.admit("another", fence("create", sequence=7)) is None
    assert journal.admit("server", fence("unshelve", sequence=9)) is None


def test_a_refused_operation_leaves_no_trace_of_itself(journal):
    journal.admit("server", fence("delete", sequence=8))
    with pytest.raises(errors.FailedPrecondition):
        journal.admit("server", fence("create", generation=5, sequence=7))
    assert journal.admit("another", fence("create", generation=1, sequence=7)) is None


def test_a_call_without_a_fence_is_refused(journal):
    with pytest.raises(errors.InvalidArgument) as refused:
        journal.admit("server", guest_pb2.Fence())
    assert refused.value.reason == "FENCE_MISSING"


def test_what_was_seen_outlives_the_process(tmp_path):
    first = Journal(tmp_path / "journal.sqlite")
    first.admit("server", fence(generation=3))
    first.record(fence(generation=3), b"done")
    node = first.node_id("host-1")
    first.close()
    second = Journal(tmp_path / "journal.sqlite")
    assert second.node_id("host-1") == node
    assert second.node_id("host-2") != node
    assert second.admit("server", fence(generation=4)) == b"done"
    with pytest.raises(errors.FailedPrecondition):
        second.admit("server", fence(generation=3))
    second.close()


def test_old_records_are_dropped(journal):
    journal.admit("server", fence(generation=3, sequence=1))
    journal.record(fence(generation=3), b"done")
    assert journal.forget(older_than_seconds=3600) == 0
    assert journal.forget(older_than_seconds=-1) == 3
    assert journal.admit("server", fence(generation=1)) is None
