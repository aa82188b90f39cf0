"""Why there is no host, or why this one: told with a refusal, and by a dry run that books nothing."""

from __future__ import annotations

import pytest

from protonova.scheduler.v1 import scheduler_pb2
from protonova.services.runtime import errors
from tests.functional.scheduler.region import Region, eventually, spec

SMALL = {"VCPU": 8, "MEMORY_MB": 1024, "DISK_GB": 100}
LARGE = {"VCPU": 8, "MEMORY_MB": 8192, "DISK_GB": 100}


def explain(
    region: Region, *, count: int = 0, hosts: int = 0, **fields
) -> scheduler_pb2.ExplainPlacementResponse:
    stub = region.start()
    request = scheduler_pb2.ExplainPlacementRequest(spec=spec(**fields), count=count, max_hosts=hosts)
    return eventually(lambda: stub.ExplainPlacement(request))


def stages(explanation: scheduler_pb2.Explanation) -> dict[str, tuple[int, int]]:
    return {stage.name: (stage.hosts_before, stage.hosts_after) for stage in explanation.stages}


def test_a_refusal_tells_each_stage_and_the_nearest_misses(region):
    region.host("small-1", SMALL)
    region.host("small-2", SMALL)
    region.host("down", LARGE, up=False)
    (selection,) = region.select(memory_mb=2048)
    assert not selection.HasField("destination")
    assert selection.failure == (
        "No valid host was found. Of 3 hosts placement offers 1 (2 short of 2,048 MEMORY_MB, at most 1,024 free); "
        "ComputeFilter left none."
    )
    told = stages(selection.explanation)
    assert told["placement"] == (3, 1)
    assert told["RequestedPlace"] == (1, 1)
    assert told["ComputeFilter"] == (1, 0)
    (shortage,) = selection.explanation.shortages
    assert (shortage.resource_class, shortage.requested) == ("MEMORY_MB", 2048)
    assert (shortage.hosts_short, shortage.most_free) == (2, 1024)
    nearest, *others = selection.explanation.verdicts
    assert (nearest.host, nearest.stage) == ("down", "ComputeFilter")
    assert {(other.host, other.stage) for other in others} == {
        ("small-1", "placement"),
        ("small-2", "placement"),
    }
    assert {other.reason for other in others} == {"short of 2,048 MEMORY_MB, 1,024 free"}


def test_who_is_left_out_of_several_is_told_what_the_others_left(region):
    region.host("one", {"VCPU": 2, "MEMORY_MB": 8192, "DISK_GB": 100})
    first, second, third = region.select(3)
    assert first.destination.host == second.destination.host == "one"
    assert third.failure == (
        "No valid host was found. Of 1 host placement offers none (1 short of 1 VCPU, at most 0 free)."
    )


def test_what_placement_alone_knows_is_told_as_such(region):
    region.host("plain", LARGE)
    (selection,) = region.select(extra_specs={"trait:HW_CPU_X86_AVX512F": "required"})
    (verdict,) = selection.explanation.verdicts
    assert verdict.stage == "placement"
    assert "traits" in verdict.reason
    assert not selection.explanation.shortages


def test_how_many_hosts_are_told_of_is_the_operators_choice(new_region):
    region = new_region(scheduler__explained_hosts=0)
    region.host("small", SMALL)
    (selection,) = region.select(memory_mb=2048)
    assert "1 short of 2,048 MEMORY_MB" in selection.failure
    assert not selection.explanation.verdicts


def test_a_dry_run_books_nothing_and_weighs(region):
    roomy = region.host("roomy", LARGE)
    region.host("tight", {**LARGE, "MEMORY_MB": 2048})
    region.host("off", LARGE, disabled=True)
    answer = explain(region, hosts=5)
    assert [destination.host for destination in answer.destinations] == ["roomy"]
    best, other, last = answer.explanation.verdicts
    assert (best.host, best.stage, other.host, other.stage) == ("roomy", "", "tight", "")
    assert best.weight > other.weight
    assert best.weights["RAMWeigher"] > other.weights["RAMWeigher"]
    assert best.weight == pytest.approx(sum(best.weights.values()))
    assert (last.host, last.stage) == ("off", "ComputeFilter")
    assert answer.explanation.words == "Of 3 hosts ComputeFilter left 2."
    assert not any(region.placement.used(roomy).values())


def test_a_dry_run_of_several_explains_the_first_that_gets_none(region):
    region.host("a", {**LARGE, "VCPU": 2})
    region.host("b", {**LARGE, "VCPU": 1})
    answer = explain(region, count=5, hosts=2)
    assert sorted(destination.host for destination in answer.destinations) == ["a", "a", "b"]
    assert answer.explanation.words == "Of 2 hosts placement offers none (2 short of 1 VCPU, at most 0 free)."
    assert {verdict.stage for verdict in answer.explanation.verdicts} == {"placement"}
    whole = explain(region, count=3)
    assert len(whole.destinations) == 3
    assert stages(whole.explanation)["placement"] == (2, 1)


def test_a_host_that_is_not_known_is_told(region):
    region.host("a", LARGE)
    answer = explain(region, host="b", hosts=1)
    assert not answer.destinations
    assert stages(answer.explanation)["RequestedPlace"] == (1, 0)


@pytest.mark.parametrize(("field", "value"), [("count", -1), ("count", 10_001), ("max_hosts", -1)])
def test_amounts_that_are_none(region, field, value):
    stub = region.start()
    with pytest.raises(errors.InvalidArgument) as raised:
        stub.ExplainPlacement(scheduler_pb2.ExplainPlacementRequest(**{field: value}))
    assert (raised.value.reason, raised.value.facts["field"]) == ("REQUEST_INVALID", field)
